#!/usr/bin/env python3
"""Other people's phones on the real server: SIPp, baresip and pjsua2, over UDP and TCP.

Each registers, calls, is called, holds, is hung up and hangs up, and fails with a wrong password; what
pjsua records of a call is compared with what it sent.
usage: play.py BINARY WORK udp|tcp
"""

import os
import re

import pjsua2 as pj

from phones import (HERE, PORT, WHAT, Baresip, Failed, Pjsua, Server, ended, login, play,
                    scenario_of, sipp, step, text_of, wait)


def talk(call):
    """Both talk, and the tone that goes out comes back from the other's loop."""
    wait("pjsua talks", call.is_talking)
    wait("pjsua has sound", lambda: call.media_status() == pj.PJSUA_CALL_MEDIA_ACTIVE)
    audio = call.getAudioMedia(-1)
    wait("pjsua hears its own tone come back", lambda: audio.getRxLevel() > 0)


def compare(call):
    """What pjsua hears is what it sends, for a second at least."""
    call.ear.hears(call.hums)
    call.ear.heard_only(call.hums)


def hold(phone, call):
    """pjsua holds and resumes, and the answers have the right directions."""
    call.setHold(pj.CallOpParam())
    wait("pjsua holds", lambda: call.media_status() == pj.PJSUA_CALL_MEDIA_LOCAL_HOLD)
    again = pj.CallOpParam(True)
    again.opt.flag = pj.PJSUA_CALL_UNHOLD
    call.reinvite(again)
    wait("pjsua resumes", lambda: call.media_status() == pj.PJSUA_CALL_MEDIA_ACTIVE)
    directions = re.findall(r"^a=(sendonly|recvonly|sendrecv|inactive)", text_of(phone.log), re.M)
    if "recvonly" not in directions:
        raise Failed(f"the hold was not answered recvonly: {directions}")


def phones():
    """baresip and pjsua call each other."""
    step("baresip registers; its wrong password is refused")
    Baresip("201", "wrong", WHAT, "baresip-wrong", 12, outcome=False).stop()
    bare = Baresip("201", "secret-201", WHAT)
    step("pjsua registers; its wrong password is refused")
    phone = Pjsua(WHAT)
    refused = phone.account("202", "wrong")
    refused.is_told(401, 403)
    refused.shutdown()
    account = phone.account("202", "secret-202")
    account.is_told(200)
    step("pjsua calls baresip with PRACK required, holds, resumes, hangs up")
    call = phone.call(account, 201)
    talk(call)
    bare.tells("CALL_ESTABLISHED")
    compare(call)
    hold(phone, call)
    call.hang_up()
    bare.tells("CALL_CLOSED")
    step("pjsua calls baresip, which hangs up")
    call = phone.call(account, 201)
    talk(call)
    bare.tells("CALL_ESTABLISHED")
    bare.say("hangup")
    bare.tells("CALL_CLOSED")
    call.ends()
    step("baresip calls pjsua, holds, resumes, hangs up")
    bare.dial(202)
    call = account.called()
    bare.tells("CALL_ESTABLISHED")
    talk(call)
    before = text_of(bare.log).count("a=recvonly")
    bare.say("hold")
    wait("baresip's hold is answered", lambda: text_of(bare.log).count("a=recvonly") > before)
    answered = text_of(bare.log).count("a=sendrecv")
    bare.say("resume")
    # Its offer and our answer.
    wait("baresip's resumption is answered",
         lambda: text_of(bare.log).count("a=sendrecv") >= answered + 2)
    bare.say("hangup")
    bare.tells("CALL_CLOSED")
    call.ends()
    step("baresip calls pjsua, which hangs up")
    bare.dial(202)
    call = account.called()
    bare.tells("CALL_ESTABLISHED")
    talk(call)
    call.hang_up()
    bare.tells("CALL_CLOSED")
    bare.stop()
    step("pjsua with G.711 calls baresip with G.722")
    bare = Baresip("201", "secret-201", WHAT, "baresip-wide", codecs="G722/16000/1")
    call = phone.call(account, 201)
    talk(call)
    bare.tells("CALL_ESTABLISHED")
    if "Set audio encoder: G722" not in text_of(bare.log):
        raise Failed("baresip was to speak G.722")
    compare(call)
    call.hang_up()
    bare.tells("CALL_CLOSED")
    phone.unregister(account)
    bare.stop()


def sipps():
    """SIPp registers and calls SIPp."""
    def one(name, at, scenario, *arguments):
        return sipp(name, at, scenario_of(scenario), *arguments, transport=WHAT)

    account = login("203", "secret-203")
    step("SIPp registers; its wrong password is refused")
    ended(one("register", 30, "register", *account), "registers")
    refused = one("wrong", 30, "wrong_password", *login("203", "wrong"))
    ended(refused, "a wrong password is challenged again")
    for caller, called in [("mine", "theirs"), ("theirs", "mine")]:
        who = "the caller" if caller == "mine" else "the called"
        step(f"SIPp calls SIPp, holds, resumes by UPDATE; {who} hangs up")
        answers = one(f"called-{called}", 40, "called", "-key", "end", called)
        calls = one(f"caller-{caller}", 30, "caller", *account, "-s", "204",
                    "-auth_uri", f"204@127.0.0.1:{PORT}", "-key", "end", caller)
        ended(calls, "calls, holds, resumes")
        ended(answers, "is called")


def story():
    """Four extensions dial each other; 204 is SIPp at a fixed place."""
    contact = f"sip:204@127.0.0.1:{PORT + 40}" + (";transport=tcp" if WHAT == "tcp" else "")
    server = Server(os.path.join(HERE, "flow.json"), f'[extension.204]\ncontact = "{contact}"\n')
    sipps()
    phones()
    server.idle()
    server.stop()


if __name__ == "__main__":
    play(story)

#!/usr/bin/env python3
"""The flows of telephony as they are shipped, on the real server, with other people's phones.

SIPp, baresip and pjsua2 play in each, over UDP and TCP. Who hears whom is judged by ear: each hums a tone of its
own, or gives back what it hears, and what they record is looked at.
usage: flows.py BINARY WORK ring-group|ivr|outbound|recording-decision|interactive-auth
"""

import array
import glob
import os
import struct
import time
import wave

from phones import (PORT, RATE, WHAT, WORK, Baresip, Ear, Failed, Pjsua, Server, ended, likeness, login, play,
                    scenario_of, sipp, step, text_of, tones_in, wait, written)

CALLER = "+493012345"
# Who hums what.
PJSUA, BARESIP, OTHER = 440, 660, 880


def serve(config=""):
    return Server(os.path.join("flows", WHAT + ".json"), config)


def registers(user, password):
    """SIPp registers; it will be reached where it is then."""
    ended(sipp(f"registers-{user}", 30, scenario_of("register"), *login(user, password)), f"{user} registers")


def rings_out(name):
    return sipp(name, 30, scenario_of("customer_rings_out"))


def talk(call, bare, hums=BARESIP):
    """pjsua and baresip hear each other, baresip nobody else, until pjsua hangs up."""
    bare.tells("CALL_ESTABLISHED")
    ear = bare.ear()
    call.ear.hears(hums)
    ear.hears(call.hums)
    call.hang_up()
    ear.heard_only(call.hums)


def ring_group():
    server = serve()
    phone = Pjsua("udp")
    caller = phone.account("trunk", "trunk-secret", PJSUA, shows=CALLER)
    first = Baresip("201", "secret-201", "tcp", answers="manual", hums=BARESIP)
    second = phone.account("202", "secret-202", OTHER)
    second.is_told(200)
    registers("203", "secret-203")

    step("three phones ring; baresip answers, pjsua and SIPp are cancelled")
    second.answers = (180,)
    third = rings_out("cancelled")
    call = phone.call(caller, 200)
    first.tells("CALL_INCOMING")
    rang = second.called()
    first.say("accept")
    talk(call, first)
    call.ear.heard_only(BARESIP)
    rang.ends(487)
    ended(third, "203 is cancelled")
    first.tells("CALL_CLOSED")

    step("all refuse, together and one by one: the caller is told so, and hung up")
    second.answers = (180, 486)
    third = sipp("refuses", 30, scenario_of("refuses"), calls=2)
    call = phone.call(caller, 200)
    for _ in ["together", "alone"]:
        first.tells("CALL_INCOMING")
        first.say("hangup")
        second.called()
    ended(third, "203 refuses twice")
    call.ear.hears_prompt("ext-unavailable")
    call.ends()

    step("nobody answers for 20 s: one after another; baresip refuses, pjsua answers")
    second.answers = (180,)
    third = rings_out("not-answered")
    call = phone.call(caller, 200)
    first.tells("CALL_INCOMING")
    rang = second.called()
    wait("the phones ring for 20 s", rang.is_over, 30)
    ended(third, "203 is cancelled")
    second.answers = (180, 200)
    first.tells("CALL_INCOMING")
    if second.calls:
        raise Failed("202 rings while it is 201's turn")
    first.say("hangup")
    other = second.called()
    call.ear.hears(OTHER)
    other.ear.hears(PJSUA)
    call.ear.heard_only(OTHER)
    other.ear.heard_only(PJSUA)
    other.hang_up()
    call.ends()
    phone.unregister(second)
    first.stop()
    return server


def digits(keys):
    """These keys as a capture that SIPp plays: telephone-events of 100 ms (RFC 4733), 100 ms apart."""
    packets, number, stamp = [], 1, 8000
    for at, key in enumerate(keys):
        for turn in range(1, 9):
            # The last is sent three times (§2.5.1.4).
            length, is_last = min(turn, 6) * 160, turn >= 6
            event = struct.pack(">BBH", "0123456789*#".index(key), 10 | (0x80 if is_last else 0), length)
            marker = 0x80 if turn == 1 else 0
            packets.append((0.3 * at + 0.02 * turn,
                            struct.pack(">BBHII", 0x80, 101 | marker, number, stamp, 20260) + event))
            number += 1
        stamp += 2400
    octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for when, rtp in packets:
        udp = struct.pack(">HHHH", 4000, 4000, 8 + len(rtp), 0) + rtp
        address = bytes([127, 0, 0, 1])
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + 2 * address + udp
        frame = bytes(12) + b"\x08\x00" + ip
        octets += struct.pack("<IIII", int(when), round(when % 1 * 1e6), len(frame), len(frame)) + frame
    path = os.path.join(WORK, "digits.pcap")
    with open(path, "wb") as file:
        file.write(octets)
    return path


def ivr():
    server = serve()
    phone = Pjsua("tcp")
    caller = phone.account("trunk", "trunk-secret", PJSUA, shows=CALLER)
    extension = Baresip("202", "secret-202", "udp", "baresip-202", 10, hums=BARESIP)
    operator = Baresip("201", "secret-201", "tcp", "baresip-201", 12, hums=OTHER)
    registers("203", "secret-203")

    step("pjsua dials 202# into the welcome, and talks to baresip")
    call = phone.call(caller, 200)
    call.ear.hears_prompt("extension")
    call.dialDtmf("202#")
    talk(call, extension)

    step("SIPp is busy at 203: the caller is told, asked again, and 0 is the operator")
    busy = sipp("busy", 30, scenario_of("refuses"))
    call = phone.call(caller, 200)
    call.ear.hears_prompt("extension")
    call.dialDtmf("203#")
    ended(busy, "203 is busy")
    told = call.ear.hears_prompt("ext-unavailable")
    call.ear.hears_prompt("extension", told)
    call.dialDtmf("0")
    talk(call, operator, OTHER)

    extension.tells("CALL_CLOSED")
    step("SIPp dials 202# and gives back what it hears: baresip's own tone")
    dials = written("dials.xml", text_of(scenario_of("caller_waits")).replace("key_1.pcap", digits("202#")))
    dialling = sipp("dials", 40, dials, *login("trunk", "trunk-secret", CALLER), "-rtp_echo", "-s", "200",
                    "-auth_uri", f"200@127.0.0.1:{PORT}", "-d", "500")
    extension.tells("CALL_ESTABLISHED")
    ear = extension.ear()
    ear.hears(BARESIP)
    ear.heard_only(BARESIP)
    extension.say("hangup")
    ended(dialling, "the caller is hung up")
    extension.stop()
    operator.stop()
    return server


def outbound():
    server = serve('[trunk.external]\nusername = "4930123"\npassword = "provider-secret"\n')
    phone = Pjsua("tcp")
    caller = phone.account("201", "secret-201", PJSUA)
    caller.is_told(200)
    colleague = Baresip("202", "secret-202", "udp", hums=BARESIP)
    registers("trunk", "trunk-secret")

    step("9 and a number: the provider, SIPp, is shown the proof and the number, and gives back what it hears")
    provider = sipp("provider", 30, scenario_of("provider"), "-rtp_echo")
    call = phone.call(caller, "90301234567")
    call.ear.hears(PJSUA)
    call.hang_up()
    ended(provider, "the provider is called and hung up")
    if text_of("sipp-provider.log").count("INVITE sip:0301234567@") != 2:
        raise Failed("the provider was to be called at 0301234567, without and with the proof")

    step("the number is busy: pjsua is told 486")
    provider = sipp("busy", 30, scenario_of("refuses"))
    phone.call(caller, "90301234568").ends(486)
    ended(provider, "the provider is busy")

    step("202: baresip rings, and both hear each other")
    talk(phone.call(caller, 202), colleague)
    colleague.tells("CALL_CLOSED")

    step("201 by baresip: pjsua rings, and both hear each other")
    colleague.dial(201)
    talk(caller.called(), colleague)

    step("12 is no number: pjsua is told 480")
    phone.call(caller, 12).ends(480)
    phone.unregister(caller)
    colleague.stop()
    return server


def channels(path):
    """The sound of a recording's caller, and of what he hears."""
    with wave.open(path) as file:
        if (file.getnchannels(), file.getframerate()) != (2, RATE):
            raise Failed(f"{path} was to have two channels and {RATE} samples a second: {file.getparams()}")
        sound = array.array("h", file.readframes(file.getnframes()))
    return sound[0::2], sound[1::2]


def holds_greeting(heard):
    like, _ = min(likeness("hello", heard))
    if like < 0.9:
        raise Failed(f"the channel of what the caller hears was to hold all of hello.wav: {like:.2f}")


def recording_decision():
    recordings = os.path.join(WORK, "recordings")
    server = serve(f'recordings = "{recordings}"\n')
    phone = Pjsua("udp")

    def recorded(count):
        """All is written, these are the files, and the sound of the newest is this."""
        wait("all recordings are written", lambda: not server.left("recordings"))
        files = sorted(glob.glob(os.path.join(recordings, "*")), key=os.path.getmtime)
        if len(files) != count:
            raise Failed(f"there were to be {count} recordings: {files}")
        return channels(files[-1])

    step("a caller from +49 is recorded, but not between 1 and 2")
    german = phone.account("anybody", "", PJSUA, shows=CALLER)
    before = time.monotonic()
    call = phone.call(german, 100)
    wait("it has been decided that it is", lambda: server.visits("record"))
    begun = time.monotonic()
    call.ear.hears_prompt("hello")
    wait("the greeting is over", lambda: server.visits("greet"))
    call.dialDtmf("1")
    pressed = time.monotonic()
    wait("the recording pauses", lambda: server.visits("pause"))
    paused = time.monotonic()
    call.hum(OTHER)
    call.ear.goes_on(1)
    call.hum(PJSUA)
    # Until the last of the other tone has left the jitter buffer.
    call.ear.goes_on(0.5)
    call.dialDtmf("2")
    again = time.monotonic()
    wait("the recording goes on", lambda: server.visits("resume"))
    resumed = time.monotonic()
    call.ear.goes_on(1)
    ending = time.monotonic()
    call.hang_up()
    over = time.monotonic()
    spoken, heard = recorded(1)
    least = ending - begun - (resumed - pressed) - 0.5
    most = over - before - (again - paused) + 0.5
    if not least < len(spoken) / RATE < most:
        raise Failed(f"the recording was to last {least:.1f} to {most:.1f} s: {len(spoken) / RATE:.1f}")
    tones = tones_in(spoken)
    if tones[PJSUA] < 3 or tones[BARESIP] or tones[OTHER]:
        raise Failed(f"the caller's channel was to hold {PJSUA} Hz only: {tones}")
    holds_greeting(heard)

    step("so is baresip from +49, over TCP")
    bare = Baresip("+493054321", "", "tcp", outcome=None, hums=BARESIP)
    bare.dial(100)
    bare.tells("CALL_ESTABLISHED")
    bare.ear().hears_prompt("hello")
    wait("the greeting is over", lambda: server.visits("greet") == 2)
    bare.say("hangup")
    bare.tells("CALL_CLOSED")
    spoken, heard = recorded(2)
    tones = tones_in(spoken)
    if tones[BARESIP] < 1 or tones[PJSUA] or tones[OTHER]:
        raise Failed(f"the caller's channel was to hold {BARESIP} Hz only: {tones}")
    holds_greeting(heard)

    step("SIPp, which shows no such number, and pjsua from +43 are not")
    ended(sipp("unrecorded", 30, "uac", "-s", "100", "-d", "500"), "calls for half a second")
    austrian = phone.account("anybody", "", PJSUA, shows="+4312345")
    call = phone.call(austrian, 100)
    call.ear.hears_prompt("hello")
    call.hang_up()
    wait("it has been decided twice that it is not", lambda: server.visits("leave") == 2)
    recorded(2)
    bare.stop()
    return server


def interactive_auth():
    server = serve()
    phone = Pjsua("tcp")
    step("wrong passwords are refused: 401 to pjsua and to SIPp")
    wrong = phone.account("anna", "guess")
    wrong.is_told(401)
    wrong.shutdown()
    ended(sipp("wrong", 30, scenario_of("wrong_password"), *login("bert", "guess")), "is challenged again")

    step("who is not on the list is turned away: pjsua when it registers, SIPp when it calls")
    unknown = phone.account("carla", "secret-carla")
    unknown.is_told(403)
    unknown.shutdown()
    stranger = sipp("stranger", 40, scenario_of("turned_away"), *login("carla", "secret-carla"), "-s", "301",
                    "-auth_uri", f"301@127.0.0.1:{PORT}")
    ended(stranger, "403, not on the list")

    step("anna with pjsua and bert with baresip are let in")
    anna = phone.account("anna", "secret-anna", PJSUA)
    anna.is_told(200)
    bert = Baresip("bert", "secret-bert", "udp", hums=BARESIP)
    step("anna calls 302, and bert 301; both hear each other")
    talk(phone.call(anna, 302), bert)
    bert.tells("CALL_CLOSED")
    bert.dial(301)
    talk(anna.called(), bert)

    step("bert has gone: anna is told so, and hung up")
    bert.stop()
    call = phone.call(anna, 302)
    call.ear.hears_prompt("ext-unavailable")
    call.ends()
    phone.unregister(anna)
    return server


STORIES = {
    "ring-group": ring_group,
    "ivr": ivr,
    "outbound": outbound,
    "recording-decision": recording_decision,
    "interactive-auth": interactive_auth,
}


def story():
    server = STORIES[WHAT]()
    server.idle()
    server.stop()


if __name__ == "__main__":
    play(story)

#!/usr/bin/env python3
"""Other people's phones on the real server: SIPp, baresip and pjsua2, over UDP and TCP.

Each registers, calls, is called, holds, is hung up and hangs up, and fails with a wrong password; what
pjsua records of a call is compared with what it sent.
usage: play.py BINARY WORK udp|tcp
What every phone said and heard is kept in WORK; it is shown when a step fails.
"""

import contextlib
import ctypes
import json
import math
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request

import pjsua2 as pj

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = int(os.environ.get("SIP_TEST_PORT", "15360"))
WORK = sys.argv[2]
PATIENCE = 15.0
# What pjsua hums, in hertz, and how many samples a second it records.
TONE, RATE = 440, 8000


class Failed(Exception):
    """A step that did not come to what it should."""


STARTED = []
# Objects of pjsua2, whose destructors want an order that Python does not keep.
KEPT = []


def die_with_parent():
    """Linux only: PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def start(command, log):
    """Starts a process whose output is kept, and which never outlives this one."""
    with open(os.path.join(WORK, log), "w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                   preexec_fn=die_with_parent)
    STARTED.append(process)
    return process


def wait(what, done, turn=lambda: time.sleep(0.02)):
    """Waits until something is so."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = done()
        if value:
            return value
        turn()
    raise Failed(f"it never came to this within {PATIENCE:.0f} s: {what}")


def text_of(name):
    """What a log of this run holds so far."""
    with open(os.path.join(WORK, name), encoding="utf-8", errors="replace") as file:
        return file.read()


@contextlib.contextmanager
def silence():
    """What a library prints before it can be told not to goes nowhere."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


class Server:
    """The server, with four extensions that dial each other; 204 is SIPp at a fixed place."""

    def __init__(self, binary, transport):
        contact = f"sip:204@127.0.0.1:{PORT + 40}"
        if transport == "tcp":
            contact += ";transport=tcp"
        config = os.path.join(WORK, f"server-{transport}.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'[extension.204]\ncontact = "{contact}"\n')
        self.log = f"server-{transport}.log"
        self.process = start(
            [binary, "serve", os.path.join(HERE, "flow.json"), "--config", config,
             "--sip", f"127.0.0.1:{PORT}", "--http", f"127.0.0.1:{PORT + 1}",
             "--rtp", f"127.0.0.1:{PORT + 2000}-{PORT + 2999}",
             "--data", os.path.join(WORK, f"data-{transport}")], self.log)
        wait("the server is ready", lambda: re.search(r"^ready", text_of(self.log), re.M))

    def idle(self):
        """Nothing is left over, and nothing panicked."""
        names = ["legs", "runs", "players", "sip_dialogs", "media_ports", "panics_total"]

        def left():
            url = f"http://127.0.0.1:{PORT + 1}/metrics"
            with urllib.request.urlopen(url, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            values = dict(line.rsplit(" ", 1) for line in lines if line and line[0] != "#")
            return {name: values.get("ringback_" + name) for name in names
                    if values.get("ringback_" + name) != "0"}

        wait("nothing is left in the server", lambda: not left())

    def stop(self):
        self.process.terminate()
        if self.process.wait(PATIENCE) != 0:
            raise Failed("the server did not end cleanly")


class Baresip:
    """baresip, steered over its control socket; its audio is what it hears."""

    def __init__(self, transport, password, name="baresip", at=10, registers=True, codecs=""):
        home = os.path.join(WORK, f"{name}-{transport}")
        os.makedirs(home, exist_ok=True)
        control = PORT + at + 5  # Its own neighbour is taken by TLS.
        with open(os.path.join(home, "config"), "w", encoding="utf-8") as file:
            file.write(
                f"sip_listen 127.0.0.1:{PORT + at}\nmodule_path /usr/lib/baresip/modules\n"
                "audio_player aubridge,a\naudio_source aubridge,a\naudio_alert aubridge,b\n"
                f"rtp_ports {PORT + 3000}-{PORT + 3100}\nmodule g711.so\nmodule g722.so\n"
                "module aubridge.so\n"
                f"module ctrl_tcp.so\nctrl_tcp_listen 127.0.0.1:{control}\n"
                "module_tmp account.so\nmodule_app menu.so\n")
        with open(os.path.join(home, "accounts"), "w", encoding="utf-8") as file:
            file.write(
                f"<sip:201@127.0.0.1:{PORT};transport={transport}>;auth_user=201;"
                f"auth_pass={password};answermode=auto;regint=60"
                f"{';audio_codecs=' + codecs if codecs else ''}\n")
        open(os.path.join(home, "contacts"), "w", encoding="utf-8").close()
        self.log = f"{name}-{transport}.log"
        self.process = start(["baresip", "-4", "-s", "-f", home], self.log)
        self.socket = wait("baresip listens to commands", lambda: self.connect(control))
        self.bytes = b""
        self.events = []
        # It may have happened before the control socket was there.
        outcome = r"200 OK .*\[1 binding\]" if registers else r"^.*reg: .*: 401 Unauthorized"
        wait("baresip heard from the registrar",
             lambda: re.search(outcome, text_of(self.log), re.M))

    @staticmethod
    def connect(control):
        try:
            made = socket.create_connection(("127.0.0.1", control), 1)
        except OSError:
            return None
        made.settimeout(0.02)
        return made

    def say(self, command, params=""):
        message = json.dumps({"command": command, "params": params, "token": "t"})
        self.socket.sendall(f"{len(message)}:{message},".encode())

    def take(self):
        """Takes what has come: netstrings of JSON."""
        try:
            self.bytes += self.socket.recv(65536)
        except TimeoutError:
            pass
        while b":" in self.bytes:
            length, rest = self.bytes.split(b":", 1)
            if len(rest) <= int(length):
                break
            message = json.loads(rest[: int(length)])
            self.bytes = rest[int(length) + 1:]
            if message.get("event"):
                self.events.append(message["type"])

    def heard(self, event, turn=lambda: None):
        """Waits for an event, and forgets what came before it."""
        def come():
            self.take()
            if event in self.events:
                del self.events[: self.events.index(event) + 1]
                return True
            return False

        wait(f"baresip says {event}", come, turn)

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


class Call(pj.Call):
    """A call of pjsua."""

    def __init__(self, account, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(account, call_id)
        self.states = []
        KEPT.append(self)

    def onCallState(self, prm):
        self.states.append(self.getInfo().state)

    def is_over(self):
        return pj.PJSIP_INV_STATE_DISCONNECTED in self.states

    def is_talking(self):
        return pj.PJSIP_INV_STATE_CONFIRMED in self.states

    def media_status(self):
        info = self.getInfo()  # Owns what `media` refers to.
        return info.media[0].status if info.media else None


class Account(pj.Account):
    """202, which answers at once."""

    def __init__(self):
        super().__init__()
        KEPT.append(self)
        self.codes = []
        self.calls = []

    def onRegState(self, prm):
        self.codes.append(prm.code)

    def onIncomingCall(self, prm):
        call = Call(self, prm.callId)
        self.calls.append(call)
        answer = pj.CallOpParam()
        answer.statusCode = 180
        call.answer(answer)
        answer.statusCode = 200
        call.answer(answer)


class Pjsua:
    """pjsua2 as a library of this process, stepped by whoever waits."""

    def __init__(self, transport):
        KEPT.append(self)
        self.log = f"pjsua-{transport}.log"
        self.endpoint = pj.Endpoint()
        with silence():
            self.endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.logConfig.level = 5
        config.logConfig.consoleLevel = 0
        config.logConfig.msgLogging = 1
        config.logConfig.filename = os.path.join(WORK, self.log)
        config.medConfig.clockRate = RATE
        self.endpoint.libInit(config)
        at = pj.TransportConfig()
        at.port, at.boundAddress = PORT + 20, "127.0.0.1"
        is_tcp = transport == "tcp"
        kind = pj.PJSIP_TRANSPORT_TCP if is_tcp else pj.PJSIP_TRANSPORT_UDP
        self.endpoint.transportCreate(kind, at)
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        self.endpoint.codecSetPriority("G722/16000/1", 0)
        self.suffix = ";transport=tcp" if is_tcp else ""
        self.tone = pj.ToneGenerator()
        self.tone.createToneGenerator(8000, 1)
        tone = pj.ToneDesc()
        tone.freq1, tone.freq2, tone.on_msec, tone.off_msec = TONE, 0, 1000, 0
        tones = pj.ToneDescVector()
        tones.append(tone)
        self.tone.play(tones, True)

    def turn(self):
        self.endpoint.libHandleEvents(20)

    def wait(self, what, done):
        return wait(what, done, self.turn)

    def account(self, password):
        config = pj.AccountConfig()
        config.idUri = "sip:202@127.0.0.1"
        config.regConfig.registrarUri = f"sip:127.0.0.1:{PORT}{self.suffix}"
        config.regConfig.retryIntervalSec = 0
        config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", "202", 0, password))
        config.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY
        config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
        config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
        account = Account()
        account.create(config)
        self.wait("pjsua heard from the registrar", lambda: account.codes)
        return account

    def call(self, account, number):
        call = Call(account)
        call.makeCall(f"sip:{number}@127.0.0.1:{PORT}{self.suffix}", pj.CallOpParam(True))
        return call

    def unregister(self, account):
        account.codes.clear()
        account.setRegistration(False)
        self.wait("pjsua has unregistered", lambda: account.codes)


def step(transport, name):
    print(f"{transport}  {name}", flush=True)


def talk(phone, call, who):
    """Both talk, and the tone that goes out comes back from the other's loop."""
    phone.wait(f"{who} talks", call.is_talking)
    phone.wait(f"{who} has sound",
               lambda: call.media_status() == pj.PJSUA_CALL_MEDIA_ACTIVE)
    audio = call.getAudioMedia(-1)
    phone.tone.startTransmit(audio)
    phone.wait(f"{who} hears its own tone come back", lambda: audio.getRxLevel() > 0)


def compare(phone, call):
    """What pjsua hears for a second is recorded, and is what it sends."""
    share = tone_in(record(phone, call.getAudioMedia(-1), "pjsua records a second"))
    if share < 0.9:
        raise Failed(f"{share:.2f} of the energy that pjsua recorded is the tone that it sent")


def record(phone, audio, what):
    """A second of what comes in."""
    path = os.path.join(WORK, f"heard-{len(KEPT)}.wav")
    recorder = pj.AudioMediaRecorder()
    KEPT.append(recorder)
    recorder.createRecorder(path)
    audio.startTransmit(recorder)
    # Its header is written when it is closed; the sound before.
    octets = 44 + 2 * RATE * 3 // 2
    phone.wait(what, lambda: os.path.getsize(path) >= octets)
    audio.stopTransmit(recorder)
    with open(path, "rb") as file:
        sound = file.read()[octets - 2 * RATE : octets]
    return struct.unpack(f"<{RATE}h", sound)


def tone_in(samples):
    """The part of the energy that is the tone (Goertzel)."""
    turn = 2 * math.cos(2 * math.pi * TONE / RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + turn * last - before
    power = before * before + last * last - turn * before * last
    energy = sum(sample * sample for sample in samples)
    return 2 * power / (len(samples) * energy) if energy else 0.0


def hold(phone, call):
    """pjsua holds and resumes, and the answers have the right directions."""
    call.setHold(pj.CallOpParam())
    phone.wait("pjsua holds", lambda: call.media_status() == pj.PJSUA_CALL_MEDIA_LOCAL_HOLD)
    again = pj.CallOpParam(True)
    again.opt.flag = pj.PJSUA_CALL_UNHOLD
    call.reinvite(again)
    phone.wait("pjsua resumes", lambda: call.media_status() == pj.PJSUA_CALL_MEDIA_ACTIVE)
    directions = re.findall(r"^a=(sendonly|recvonly|sendrecv|inactive)", text_of(phone.log), re.M)
    if "recvonly" not in directions:
        raise Failed(f"the hold was not answered recvonly: {directions}")


def phones(transport):
    """baresip and pjsua call each other."""
    step(transport, "baresip registers; its wrong password is refused")
    wrong = Baresip(transport, "wrong", "baresip-wrong", 12, registers=False)
    wrong.stop()
    bare = Baresip(transport, "secret-201")
    step(transport, "pjsua registers; its wrong password is refused")
    phone = Pjsua(transport)
    refused = phone.account("wrong")
    if refused.codes[0] not in (401, 403):
        raise Failed(f"pjsua with a wrong password heard {refused.codes}")
    refused.shutdown()
    account = phone.account("secret-202")
    if account.codes[0] != 200:
        raise Failed(f"pjsua could not register: {account.codes}")
    step(transport, "pjsua calls baresip with PRACK required, holds, resumes, hangs up")
    call = phone.call(account, 201)
    talk(phone, call, "pjsua")
    bare.heard("CALL_ESTABLISHED", phone.turn)
    compare(phone, call)
    hold(phone, call)
    call.hangup(pj.CallOpParam())
    phone.wait("pjsua's call is over", call.is_over)
    bare.heard("CALL_CLOSED", phone.turn)
    step(transport, "pjsua calls baresip, which hangs up")
    call = phone.call(account, 201)
    talk(phone, call, "pjsua")
    bare.heard("CALL_ESTABLISHED", phone.turn)
    bare.say("hangup")
    bare.heard("CALL_CLOSED", phone.turn)
    phone.wait("pjsua's call is over", call.is_over)
    step(transport, "baresip calls pjsua, holds, resumes, hangs up")
    bare.say("dial", f"sip:202@127.0.0.1:{PORT}")
    call = phone.wait("pjsua is called", lambda: account.calls and account.calls.pop())
    bare.heard("CALL_ESTABLISHED", phone.turn)
    talk(phone, call, "pjsua")
    before = text_of(bare.log).count("a=recvonly")
    bare.say("hold")
    phone.wait("baresip's hold is answered",
               lambda: text_of(bare.log).count("a=recvonly") > before)
    answered = text_of(bare.log).count("a=sendrecv")
    bare.say("resume")
    # Its offer and our answer.
    phone.wait("baresip's resumption is answered",
               lambda: text_of(bare.log).count("a=sendrecv") >= answered + 2)
    bare.say("hangup")
    bare.heard("CALL_CLOSED", phone.turn)
    phone.wait("pjsua's call is over", call.is_over)
    step(transport, "baresip calls pjsua, which hangs up")
    bare.say("dial", f"sip:202@127.0.0.1:{PORT}")
    call = phone.wait("pjsua is called", lambda: account.calls and account.calls.pop())
    bare.heard("CALL_ESTABLISHED", phone.turn)
    talk(phone, call, "pjsua")
    call.hangup(pj.CallOpParam())
    bare.heard("CALL_CLOSED", phone.turn)
    phone.wait("pjsua's call is over", call.is_over)
    bare.stop()
    step(transport, "pjsua with G.711 calls baresip with G.722")
    bare = Baresip(transport, "secret-201", "baresip-wide", codecs="G722/16000/1")
    call = phone.call(account, 201)
    talk(phone, call, "pjsua")
    bare.heard("CALL_ESTABLISHED", phone.turn)
    if "Set audio encoder: G722" not in text_of(bare.log):
        raise Failed("baresip was to speak G.722")
    compare(phone, call)
    call.hangup(pj.CallOpParam())
    phone.wait("pjsua's call is over", call.is_over)
    bare.heard("CALL_CLOSED", phone.turn)
    phone.unregister(account)
    bare.stop()


def sipp(transport, name, at, arguments):
    """Starts one SIPp."""
    log = f"sipp-{name}-{transport}"
    return start(
        ["sipp", f"127.0.0.1:{PORT}", "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(PORT + at),
         "-mp", str(PORT + 4000 + at * 10), "-m", "1", "-nostdin", "-timeout", "20", "-recv_timeout",
         "10000", "-t", "t1" if transport == "tcp" else "u1", "-trace_msg", "-message_file",
         os.path.join(WORK, log + ".log"), "-trace_err", "-error_file",
         os.path.join(WORK, log + ".err"), *arguments], log + ".out")


def ended(process, what):
    if process.wait(PATIENCE + 10) != 0:
        raise Failed(f"SIPp: {what}")


def scenario(name):
    return os.path.join(HERE, name)


def sipps(transport):
    """SIPp registers and calls SIPp."""
    accounts = os.path.join(WORK, "account.csv")
    with open(accounts, "w", encoding="utf-8") as file:
        file.write("SEQUENTIAL\n203;[authentication username=203 password=secret-203]\n")
    wrong = os.path.join(WORK, "wrong.csv")
    with open(wrong, "w", encoding="utf-8") as file:
        file.write("SEQUENTIAL\n203;[authentication username=203 password=wrong]\n")
    step(transport, "SIPp registers; its wrong password is refused")
    register = os.path.join(HERE, "..", "sipp", "register.xml")
    ended(sipp(transport, "register", 30, ["-sf", register, "-inf", accounts]), "registers")
    refused = ["-sf", scenario("wrong_password.xml"), "-inf", wrong]
    ended(sipp(transport, "wrong", 30, refused), "a wrong password is challenged again")
    for caller, called in [("mine", "theirs"), ("theirs", "mine")]:
        who = "the caller" if caller == "mine" else "the called"
        step(transport, f"SIPp calls SIPp, holds, resumes by UPDATE; {who} hangs up")
        answers = sipp(transport, f"called-{called}", 40,
                       ["-sf", scenario("called.xml"), "-key", "end", called])
        calls = sipp(transport, f"caller-{caller}", 30,
                     ["-sf", scenario("caller.xml"), "-inf", accounts, "-s", "204",
                      "-auth_uri", f"204@127.0.0.1:{PORT}", "-key", "end", caller])
        ended(calls, "calls, holds, resumes")
        ended(answers, "is called")


def show_logs(transport):
    """The end of everything that was said, for who looks for the reason."""
    for name in sorted(os.listdir(WORK)):
        if not name.endswith((".log", ".err")) or transport not in name:
            continue
        lines = text_of(name).splitlines()
        print(f"--- {name}, last of {len(lines)} lines", file=sys.stderr)
        print("\n".join(lines[-60:]), file=sys.stderr)


def main():
    transport = sys.argv[3]
    started = time.monotonic()
    try:
        server = Server(os.path.abspath(sys.argv[1]), transport)
        sipps(transport)
        phones(transport)
        server.idle()
        server.stop()
    except (Failed, subprocess.TimeoutExpired, pj.Error) as failure:
        show_logs(transport)
        print(f"interop: over {transport}: {failure}",
              file=sys.stderr, flush=True)
        return 1
    finally:
        for process in STARTED:
            process.kill()
            process.wait()
    print(f"{transport}  all passed in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    os._exit(main())

"""Other people's phones, what they hear, and the server that they use: SIPp, baresip and pjsua2.

Shared by play.py and flows.py, which `run` starts as PROGRAM BINARY WORK WHAT, with their ports in SIP_TEST_PORT.
Everything that is said and heard is kept in WORK, and its end is shown when a step fails.
"""

import array
import contextlib
import ctypes
import functools
import glob
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import wave

import pjsua2 as pj

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY, WORK, WHAT = sys.argv[1:4]
# Signalling is on the first hundred ports from here, audio on five hundred more.
PORT = int(os.environ["SIP_TEST_PORT"])
PATIENCE = 15.0
# What phones hum, in hertz: whole turns in each window in which the ear listens, so that none is taken for another.
TONES = (440, 660, 880)
# Samples a second, of all that is recorded; and the windows of the ear: 50 ms for tones, 10 ms for prompts.
RATE, WINDOW, FRAME = 8000, 400, 80
# Samples that are less than this in the mean are silence.
SILENCE = 100


class Failed(Exception):
    """A step that did not come to what it should."""


STARTED = []
# Objects of pjsua2, whose destructors want an order that Python does not keep.
KEPT = []
# What goes on only while somebody steps it: pjsua.
STEPPED = []


def step(name):
    print(f"{WHAT}  {name}", flush=True)


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


def wait(what, done, patience=PATIENCE):
    """Waits until something is so, while pjsua goes on; what was waited for is a text, or gives one at the end."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        value = done()
        if value:
            return value
        for phone in STEPPED:
            phone.turn()
        if not STEPPED:
            time.sleep(0.02)
    raise Failed(f"it never came to this within {patience:.0f} s: {what() if callable(what) else what}")


def text_of(name):
    """What a log of this run holds so far."""
    with open(os.path.join(WORK, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def written(name, text):
    """Writes a file of this run, and says where it is."""
    path = os.path.join(WORK, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


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
    """The server under test, with one flow."""

    def __init__(self, flow, config=""):
        self.data = os.path.join(WORK, "data")
        self.process = start(
            [os.path.abspath(BINARY), "serve", flow, "--config", written("server.toml", config),
             "--sip", f"127.0.0.1:{PORT}", "--http", f"127.0.0.1:{PORT + 1}",
             "--rtp", f"127.0.0.1:{PORT + 100}-{PORT + 299}", "--data", self.data], "server.log")
        wait("the server is ready", lambda: re.search(r"^ready", text_of("server.log"), re.M))

    @staticmethod
    def get(path, headers=None):
        request = urllib.request.Request(f"http://127.0.0.1:{PORT + 1}{path}", headers=headers or {})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode()

    def api(self, path):
        with open(os.path.join(self.data, "admin-token"), encoding="utf-8") as file:
            token = file.read().strip()
        return json.loads(self.get("/api/" + path, {"Authorization": f"Bearer {token}"}))

    def visits(self, node):
        """How often runs have visited a node."""
        runs = [self.api(f"runs/{run['id']}") for run in self.api("runs")]
        return sum(visit["node"] == node for run in runs for visit in run["trace"])

    def left(self, *names):
        """What is not zero of these gauges."""
        lines = [line for line in self.get("/metrics").splitlines() if line and line[0] != "#"]
        values = dict(line.rsplit(" ", 1) for line in lines)
        return {name: values.get("ringback_" + name) for name in names
                if values.get("ringback_" + name) != "0"}

    def idle(self):
        """Nothing is left over, and nothing panicked."""
        names = ["legs", "runs", "players", "recordings", "dials", "sip_dialogs", "media_ports",
                 "panics_total"]
        wait("nothing is left in the server", lambda: not self.left(*names))

    def stop(self):
        self.process.terminate()
        if self.process.wait(PATIENCE) != 0:
            raise Failed("the server did not end cleanly")


def energy_of(samples):
    return sum(sample * sample for sample in samples)


def share_of(tone, samples):
    """The part of the energy that is the tone (Goertzel)."""
    turn = 2 * math.cos(2 * math.pi * tone / RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + turn * last - before
    power = before * before + last * last - turn * before * last
    energy = energy_of(samples)
    return 2 * power / (len(samples) * energy) if energy else 0.0


def tones_in(samples):
    """For how many seconds each tone is heard, alone, in whole windows."""
    seconds = dict.fromkeys(TONES, 0.0)
    for at in range(0, len(samples) - WINDOW + 1, WINDOW):
        window = samples[at : at + WINDOW]
        if energy_of(window) < SILENCE * SILENCE * WINDOW:
            continue
        for tone in TONES:
            if share_of(tone, window) > 0.9:
                seconds[tone] += WINDOW / RATE
    return seconds


def envelope(samples, frame=FRAME):
    """How loud it is in each 10 ms."""
    return [math.sqrt(energy_of(samples[at : at + frame]) / frame)
            for at in range(0, len(samples) - frame + 1, frame)]


@functools.lru_cache
def prompt(name):
    """The loudness of each whole second of a prompt, up to the third."""
    with wave.open(os.path.join("prompts", name + ".wav")) as file:
        rate = file.getframerate()
        whole = min(file.getnframes() // rate, 3)
        sound = envelope(array.array("h", file.readframes(whole * rate)), rate // 100)
    return [sound[at : at + 100] for at in range(0, len(sound), 100)]


def likeness(name, samples):
    """How well each second of a prompt fits to what was heard, where it fits best, and at which sample the prompt
    would have begun; 1 is the same. A phone on a busy machine leaves something out, so each is looked for alone."""
    heard, found = envelope(samples), []
    for second, wanted in enumerate(prompt(name)):
        length, mean = len(wanted), sum(wanted) / len(wanted)
        wanted = [value - mean for value in wanted]
        best, norm = (0.0, 0), math.sqrt(energy_of(wanted))
        for at in range(len(heard) - length + 1):
            window = heard[at : at + length]
            middle = sum(window) / length
            spread = math.sqrt(max(energy_of(window) - length * middle * middle, 1.0))
            fits = sum(map(float.__mul__, wanted, window)) / (norm * spread)
            best = max(best, (fits, max(0, at - second * length) * FRAME))
        found.append(best)
    return found


class Ear:
    """What a phone has heard of a call, as the file holds it into which the phone records: WAV, 16 bits."""

    # The header is whole only when the file is closed; the sound before.
    HEADER = 44

    def __init__(self, who, path):
        self.who, self.path, self.taken = who, path, 0
        self.seconds = dict.fromkeys(TONES, 0.0)

    def sound(self, first=0):
        """All samples so far, from the first that is asked for."""
        with open(self.path, "rb") as file:
            file.seek(self.HEADER + 2 * first)
            octets = file.read()
        return array.array("h", octets[: len(octets) // 2 * 2])

    def tones(self):
        """For how many seconds each tone has been heard."""
        new = self.sound(self.taken)
        whole = len(new) // WINDOW * WINDOW
        for tone, seconds in tones_in(new[:whole]).items():
            self.seconds[tone] += seconds
        self.taken += whole
        return self.seconds

    def hears(self, tone):
        wait(lambda: f"{self.who} hears {tone} Hz for a second: {self.seconds}", lambda: self.tones()[tone] >= 1)

    def heard_only(self, tone):
        """None of the other tones was in it; what a prompt has of one for a moment does not count."""
        others = {other: heard for other, heard in self.tones().items() if other != tone}
        if max(others.values()) > 0.15:
            raise Failed(f"{self.who} was to hear {tone} Hz and heard {self.seconds}")

    def hears_prompt(self, name, after=0):
        """Waits until the beginning of a prompt is heard, after so many samples; where it began."""
        seen, like, best = RATE, 0.0, (0.0, 0)

        def heard():
            nonlocal seen, like, best
            sound = self.sound(after)
            if len(sound) < seen:
                return False
            # Looked at again when there is a quarter of a second more.
            seen = len(sound) + RATE // 4
            found = likeness(name, sound)
            like, best = sum(fits for fits, _ in found) / len(found), max(found)
            # Of other prompts, with words in common, none comes to 0.8.
            return like > 0.85

        wait(lambda: f"{self.who} hears {name}.wav; likeness {like:.2f}", heard)
        return after + best[1]

    def goes_on(self, seconds):
        """So much more has been heard."""
        length = len(self.sound()) + seconds * RATE
        wait(f"{self.who} hears {seconds} s more", lambda: len(self.sound()) >= length)


class Baresip:
    """baresip, steered over its control socket; it hums, or plays back what it hears.

    An outcome of `None` is a phone that does not register; True is let in, False refused."""

    def __init__(self, user, password, transport, name="baresip", at=10, outcome=True, codecs="",
                 answers="auto", hums=None):
        home = os.path.join(WORK, name)
        # What an earlier run recorded there is not what this phone hears.
        shutil.rmtree(home, ignore_errors=True)
        os.makedirs(home)
        control = PORT + at + 5  # Its own neighbour is taken by TLS.
        source = f"aufile,{hum_file(hums)}" if hums else "aubridge,a"
        # What it hums and what it records has the rate of the codec.
        codecs = "PCMU/8000/1" if hums else codecs
        written(f"{name}/config",
                f"sip_listen 127.0.0.1:{PORT + at}\nmodule_path /usr/lib/baresip/modules\n"
                f"audio_player aubridge,a\naudio_source {source}\naudio_alert aubridge,b\n"
                f"rtp_ports {PORT + 300}-{PORT + 399}\nmodule g711.so\nmodule g722.so\n"
                f"module sndfile.so\nsnd_path {home}\nmodule aufile.so\nmodule aubridge.so\n"
                f"module ctrl_tcp.so\nctrl_tcp_listen 127.0.0.1:{control}\n"
                "module_tmp account.so\nmodule_app menu.so\n")
        written(f"{name}/accounts",
                f"<sip:{user}@127.0.0.1:{PORT};transport={transport}>;auth_user={user};"
                f"auth_pass={password};answermode={answers};regint={0 if outcome is None else 60}"
                f"{';audio_codecs=' + codecs if codecs else ''}\n")
        written(f"{name}/contacts", "")
        self.name, self.home, self.log = name, home, f"{name}.log"
        self.recorded = set()
        self.process = start(["baresip", "-4", "-s", "-f", home], self.log)
        self.socket = wait("baresip listens to commands", lambda: self.connect(control))
        self.bytes = b""
        self.events = []
        # It may have happened before the control socket was there.
        said = r"200 OK .*\[1 binding\]" if outcome else r"^.*reg: .*: 401 Unauthorized"
        wait("baresip heard from the registrar",
             lambda: outcome is None or re.search(said, text_of(self.log), re.M))

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

    def dial(self, number):
        self.say("dial", f"sip:{number}@127.0.0.1:{PORT}")

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

    def tells(self, event):
        """Waits for an event, and forgets what came before it."""
        def come():
            self.take()
            if event in self.events:
                del self.events[: self.events.index(event) + 1]
                return True
            return False

        wait(f"{self.name} says {event}", come)

    def ear(self):
        """What it hears of the call that has begun last."""
        def new():
            return set(glob.glob(os.path.join(self.home, "dump-*-dec.wav"))) - self.recorded

        path = wait(f"{self.name} records what it hears", new).pop()
        self.recorded.add(path)
        return Ear(self.name, path)

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


@functools.lru_cache
def hum_file(tone):
    """A minute of a tone; it has whole turns in a second."""
    second = [int(8000 * math.sin(2 * math.pi * tone * at / RATE)) for at in range(RATE)]
    path = os.path.join(WORK, f"hum-{tone}.wav")
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(array.array("h", second * 60).tobytes())
    return path


class Call(pj.Call):
    """A call of pjsua, which hums as its account does and records what it hears."""

    def __init__(self, account, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(account, call_id)
        KEPT.append(self)
        self.phone, self.hums = account.phone, account.hums
        self.states, self.code = [], 0
        self.ear = Ear("pjsua", os.path.join(WORK, f"pjsua-heard-{len(KEPT)}.wav"))
        self.recorder = pj.AudioMediaRecorder()
        self.recorder.createRecorder(self.ear.path)

    def onCallState(self, prm):
        info = self.getInfo()
        self.states.append(info.state)
        self.code = info.lastStatusCode

    def onCallMediaState(self, prm):
        if self.media_status() == pj.PJSUA_CALL_MEDIA_ACTIVE:
            audio = self.getAudioMedia(-1)
            audio.startTransmit(self.recorder)
            self.phone.tone(self.hums).startTransmit(audio)

    def is_over(self):
        return pj.PJSIP_INV_STATE_DISCONNECTED in self.states

    def is_talking(self):
        return pj.PJSIP_INV_STATE_CONFIRMED in self.states

    def media_status(self):
        info = self.getInfo()  # Owns what `media` refers to.
        return info.media[0].status if info.media else None

    def hum(self, tone):
        """Another tone from now on."""
        audio = self.getAudioMedia(-1)
        self.phone.tone(self.hums).stopTransmit(audio)
        self.hums = tone
        self.phone.tone(tone).startTransmit(audio)

    def hang_up(self):
        self.hangup(pj.CallOpParam())
        self.ends()

    def ends(self, code=None):
        wait("pjsua's call is over", self.is_over)
        if code and self.code != code:
            raise Failed(f"pjsua was to be told {code} and was told {self.code}")


class Account(pj.Account):
    """An account of pjsua, which says these codes when it is called."""

    def __init__(self, phone, hums):
        super().__init__()
        KEPT.append(self)
        self.phone, self.hums, self.answers = phone, hums, (180, 200)
        self.codes = []
        self.calls = []

    def onRegState(self, prm):
        self.codes.append(prm.code)

    def onIncomingCall(self, prm):
        call = Call(self, prm.callId)
        self.calls.append(call)
        answer = pj.CallOpParam()
        for code in self.answers:
            answer.statusCode = code
            call.answer(answer)

    def called(self):
        return wait("pjsua is called", lambda: self.calls and self.calls.pop())

    def is_told(self, *codes):
        """What the registrar said first."""
        wait("pjsua heard from the registrar", lambda: self.codes)
        if self.codes[0] not in codes:
            raise Failed(f"the registrar was to say {codes} to pjsua and said {self.codes}")


class Pjsua:
    """pjsua2 as a library of this process, stepped by whoever waits."""

    def __init__(self, transport):
        KEPT.append(self)
        STEPPED.append(self)
        self.log = "pjsua.log"
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
        self.tones = {}

    def turn(self):
        self.endpoint.libHandleEvents(20)

    def tone(self, hertz):
        """What hums so."""
        if hertz not in self.tones:
            generator = pj.ToneGenerator()
            generator.createToneGenerator(RATE, 1)
            tone = pj.ToneDesc()
            tone.freq1, tone.freq2, tone.on_msec, tone.off_msec = hertz, 0, 1000, 0
            tones = pj.ToneDescVector()
            tones.append(tone)
            generator.play(tones, True)
            self.tones[hertz] = generator
        return self.tones[hertz]

    def account(self, user, password, hums=440, shows=None):
        """An account that registers, or one that only calls and shows this number."""
        config = pj.AccountConfig()
        config.idUri = f"sip:{shows or user}@127.0.0.1"
        if not shows:
            config.regConfig.registrarUri = f"sip:127.0.0.1:{PORT}{self.suffix}"
        config.regConfig.retryIntervalSec = 0
        config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
        config.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY
        config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
        config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
        config.mediaConfig.transportConfig.port = PORT + 570
        config.mediaConfig.transportConfig.portRange = 28
        account = Account(self, hums)
        account.create(config)
        return account

    def call(self, account, number):
        call = Call(account)
        call.makeCall(f"sip:{number}@127.0.0.1:{PORT}{self.suffix}", pj.CallOpParam(True))
        return call

    def unregister(self, account):
        account.codes.clear()
        account.setRegistration(False)
        wait("pjsua has unregistered", lambda: account.codes)


def sipp(name, at, scenario, *arguments, transport="udp", calls=1):
    """Starts one SIPp, with a scenario of a file or of its own."""
    which = ["-sf", scenario] if os.path.isabs(scenario) else ["-sn", scenario]
    return start(
        ["sipp", f"127.0.0.1:{PORT}", *which, "-i", "127.0.0.1", "-mi", "127.0.0.1",
         "-p", str(PORT + at), "-mp", str(PORT + 400 + at * 4), "-m", str(calls), "-nostdin",
         "-timeout", "40", "-recv_timeout", "10000", "-t", "t1" if transport == "tcp" else "u1",
         "-trace_msg", "-message_file", os.path.join(WORK, f"sipp-{name}.log"),
         "-trace_err", "-error_file", os.path.join(WORK, f"sipp-{name}.err"), *arguments],
        f"sipp-{name}.out")


def ended(process, what):
    """One SIPp has come to its end, and the end of its scenario."""
    wait(f"SIPp ends: {what}", lambda: process.poll() is not None, PATIENCE + 10)
    if process.returncode != 0:
        raise Failed(f"SIPp: {what}")


def scenario_of(name):
    """A scenario of SIPp, of this directory or of the one beside it."""
    here = os.path.join(HERE, name + ".xml")
    return here if os.path.exists(here) else os.path.join(HERE, "..", "sipp", name + ".xml")


def login(user, password, number=None):
    """What SIPp needs to prove who it is: -inf and a file."""
    line = f"{number or user};[authentication username={user} password={password}]"
    return ["-inf", written(f"login-{user}-{password}.csv", f"SEQUENTIAL\n{line}\n")]


def show_logs():
    """The end of everything that was said, for who looks for the reason."""
    for name in sorted(os.listdir(WORK)):
        if not name.endswith((".log", ".err")):
            continue
        lines = text_of(name).splitlines()
        print(f"--- {WHAT}: {name}, last of {len(lines)} lines", file=sys.stderr)
        print("\n".join(lines[-60:]), file=sys.stderr)


def play(story):
    """Plays a story, and ends this process: what pjsua leaves behind cannot be taken down in order."""
    os.makedirs(WORK, exist_ok=True)
    started, code = time.monotonic(), 0
    try:
        story()
        step(f"all passed in {time.monotonic() - started:.0f} s")
    except (Failed, OSError, subprocess.TimeoutExpired, pj.Error) as failure:
        show_logs()
        print(f"interop: {WHAT}: {failure}", file=sys.stderr, flush=True)
        code = 1
    finally:
        for process in STARTED:
            process.kill()
            process.wait()
    os._exit(code)

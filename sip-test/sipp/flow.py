"""Writes the shipped queue flow for a load: agents by number, rung in one way, and no prompts before the queue.

usage: flow.py OUT STRATEGY FIRST LAST
"""
import json
import sys

out, strategy, first, last = sys.argv[1:]
flow = json.load(open("flows/queue-callback.json"))
node = {node["name"]: node["parameters"] for node in flow["nodes"]}
numbers = [str(number) for number in range(int(first), int(last) + 1)]
node["support"]["queueExtensions"] = ",".join(numbers)
node["sales"]["queueExtensions"] = numbers[0]
node["put_support"]["options"]["callStrategy"] = strategy
node["internal"]["staticCredentials"]["item"] = [
    {"username": number, "password": "secret-" + number, "extension": number} for number in numbers
]
skipped = {
    "play_extension", "input_extension", "dial_extension", "wait_extension", "ringing_extension", "stop_ringing",
    "bridge_extension", "break_extension", "play_ext_unv", "play_queues",
}
flow["nodes"] = [node for node in flow["nodes"] if node["name"] not in skipped]
flow["connections"] = {name: to for name, to in flow["connections"].items() if name not in skipped}
flow["connections"]["incoming_answer"]["main"][0][0]["node"] = "choose_queue"
json.dump(flow, open(out, "w"))

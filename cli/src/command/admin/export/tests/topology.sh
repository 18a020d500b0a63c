#!/bin/sh
# What fanfare stores on NATS, made by `fanfare admin export --format nats-cli`. It creates and changes
# nothing: what exists already ends the script. Connection: a context of the nats command, or NATS_URL.
#
# A consumer of tasks that is made anew has to have a greater fanfare.lane_epoch than the one before:
# print this script again then.
set -eu

nats stream add FANFARE_EVENTS --config /dev/stdin <<'JSON'
{
  "allow_direct": true,
  "allow_msg_ttl": true,
  "deny_delete": true,
  "deny_purge": true,
  "discard": "new",
  "duplicate_window": 120000000000,
  "max_age": 604800000000000,
  "max_bytes": 1073741824,
  "max_consumers": 0,
  "max_msg_size": 65536,
  "max_msgs": 0,
  "max_msgs_per_subject": 0,
  "name": "FANFARE_EVENTS",
  "num_replicas": 3,
  "retention": "limits",
  "storage": "file",
  "subjects": [
    "fanfare.event.>"
  ]
}
JSON

nats stream add FANFARE_TASKS --config /dev/stdin <<'JSON'
{
  "allow_atomic": true,
  "allow_direct": true,
  "allow_msg_schedules": true,
  "allow_msg_ttl": true,
  "allow_rollup_hdrs": true,
  "discard": "old",
  "duplicate_window": 120000000000,
  "max_age": 172800000000000,
  "max_bytes": 0,
  "max_consumers": 0,
  "max_msgs": 0,
  "max_msgs_per_subject": 0,
  "name": "FANFARE_TASKS",
  "num_replicas": 3,
  "retention": "limits",
  "storage": "file",
  "subjects": [
    "fanfare.plan.>",
    "fanfare.task.>",
    "fanfare.later.>"
  ]
}
JSON

nats stream add FANFARE_RECEIPTS --config /dev/stdin <<'JSON'
{
  "deny_delete": true,
  "deny_purge": true,
  "discard": "new",
  "duplicate_window": 120000000000,
  "max_age": 604800000000000,
  "max_bytes": 2147483648,
  "max_consumers": 0,
  "max_msgs": 0,
  "max_msgs_per_subject": 0,
  "name": "FANFARE_RECEIPTS",
  "num_replicas": 3,
  "retention": "limits",
  "storage": "file",
  "subjects": [
    "fanfare.receipt.>"
  ]
}
JSON

nats stream add FANFARE_DEAD --config /dev/stdin <<'JSON'
{
  "allow_direct": true,
  "discard": "new",
  "duplicate_window": 120000000000,
  "max_age": 2592000000000000,
  "max_bytes": 268435456,
  "max_consumers": 0,
  "max_msgs": 0,
  "max_msgs_per_subject": 0,
  "name": "FANFARE_DEAD",
  "num_replicas": 3,
  "retention": "limits",
  "storage": "file",
  "subjects": [
    "fanfare.dead.>",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.FANFARE_EVENTS.*",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.FANFARE_TASKS.*"
  ]
}
JSON

nats stream add FANFARE_AUDIT --config /dev/stdin <<'JSON'
{
  "deny_delete": true,
  "deny_purge": true,
  "discard": "old",
  "duplicate_window": 120000000000,
  "max_age": 7776000000000000,
  "max_bytes": 1073741824,
  "max_consumers": 0,
  "max_msgs": 0,
  "max_msgs_per_subject": 0,
  "name": "FANFARE_AUDIT",
  "num_replicas": 3,
  "retention": "limits",
  "storage": "file",
  "subjects": [
    "fanfare.audit.>"
  ]
}
JSON

nats stream add KV_fanfare_devices --config /dev/stdin <<'JSON'
{
  "allow_direct": true,
  "allow_msg_ttl": true,
  "allow_rollup_hdrs": true,
  "deny_delete": true,
  "discard": "new",
  "max_age": 0,
  "max_bytes": 0,
  "max_consumers": 0,
  "max_msgs": 0,
  "max_msgs_per_subject": 1,
  "name": "KV_fanfare_devices",
  "num_replicas": 3,
  "retention": "limits",
  "storage": "file",
  "subject_delete_marker_ttl": 604800000000000,
  "subjects": [
    "$KV.fanfare_devices.>"
  ]
}
JSON

nats stream add KV_fanfare_control --config /dev/stdin <<'JSON'
{
  "allow_direct": true,
  "allow_msg_ttl": true,
  "allow_rollup_hdrs": true,
  "deny_delete": true,
  "discard": "new",
  "max_age": 0,
  "max_bytes": 0,
  "max_consumers": 0,
  "max_msgs": 0,
  "max_msgs_per_subject": 1,
  "name": "KV_fanfare_control",
  "num_replicas": 3,
  "retention": "limits",
  "storage": "file",
  "subject_delete_marker_ttl": 3600000000000,
  "subjects": [
    "$KV.fanfare_control.>"
  ]
}
JSON

nats stream add KV_fanfare_keys --config /dev/stdin <<'JSON'
{
  "allow_direct": true,
  "allow_msg_ttl": true,
  "allow_rollup_hdrs": true,
  "deny_delete": true,
  "discard": "new",
  "max_age": 0,
  "max_bytes": 0,
  "max_consumers": 0,
  "max_msgs": 0,
  "max_msgs_per_subject": 1,
  "name": "KV_fanfare_keys",
  "num_replicas": 3,
  "retention": "limits",
  "storage": "file",
  "subject_delete_marker_ttl": 3600000000000,
  "subjects": [
    "$KV.fanfare_keys.>"
  ]
}
JSON

nats consumer add FANFARE_EVENTS notifier --config /dev/stdin <<'JSON'
{
  "ack_policy": "explicit",
  "ack_wait": 30000000000,
  "deliver_policy": "all",
  "durable_name": "notifier",
  "filter_subject": "fanfare.event.>",
  "max_ack_pending": 64,
  "max_deliver": -1,
  "max_waiting": 512,
  "name": "notifier",
  "replay_policy": "instant"
}
JSON

nats consumer add FANFARE_EVENTS notifier-ahead --config /dev/stdin <<'JSON'
{
  "ack_policy": "none",
  "deliver_policy": "new",
  "durable_name": "notifier-ahead",
  "filter_subject": "fanfare.event.>",
  "headers_only": true,
  "max_deliver": -1,
  "max_waiting": 512,
  "name": "notifier-ahead",
  "replay_policy": "instant"
}
JSON

nats consumer add FANFARE_TASKS send-myapp-urgent --config /dev/stdin <<'JSON'
{
  "ack_policy": "explicit",
  "ack_wait": 30000000000,
  "deliver_policy": "all",
  "durable_name": "send-myapp-urgent",
  "filter_subject": "fanfare.task.myapp-urgent.>",
  "max_ack_pending": 1000,
  "max_deliver": -1,
  "max_waiting": 2048,
  "metadata": {
    "fanfare.lane_epoch": "1"
  },
  "name": "send-myapp-urgent",
  "replay_policy": "instant"
}
JSON

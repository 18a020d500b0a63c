# What fanfare stores on NATS, made by `fanfare admin export --format terraform`, for the provider
# nats-io/jetstream. It wants to be the only owner: leave `fanfare admin apply` and
# `[nats] manage = "auto"`. `fanfare admin verify` checks the result.
#
# The provider has no attributes for atomic batches, schedules and times to live of messages (as of
# 0.2): such streams are made by the nats command, with its selected context.

terraform {
  required_providers {
    jetstream = { source = "nats-io/jetstream" }
  }
}

resource "terraform_data" "FANFARE_EVENTS" {
  provisioner "local-exec" {
    command = <<-SH
      nats stream add FANFARE_EVENTS --config /dev/stdin <<'JSON'
      {"allow_direct":true,"allow_msg_ttl":true,"deny_delete":true,"deny_purge":true,"discard":"new","duplicate_window":120000000000,"max_age":604800000000000,"max_bytes":1073741824,"max_consumers":0,"max_msg_size":65536,"max_msgs":0,"max_msgs_per_subject":0,"name":"FANFARE_EVENTS","num_replicas":3,"retention":"limits","storage":"file","subjects":["fanfare.event.>"]}
      JSON
    SH
  }
}

resource "terraform_data" "FANFARE_TASKS" {
  provisioner "local-exec" {
    command = <<-SH
      nats stream add FANFARE_TASKS --config /dev/stdin <<'JSON'
      {"allow_atomic":true,"allow_direct":true,"allow_msg_schedules":true,"allow_msg_ttl":true,"allow_rollup_hdrs":true,"discard":"old","duplicate_window":120000000000,"max_age":172800000000000,"max_bytes":0,"max_consumers":0,"max_msgs":0,"max_msgs_per_subject":0,"name":"FANFARE_TASKS","num_replicas":3,"retention":"limits","storage":"file","subjects":["fanfare.plan.>","fanfare.task.>","fanfare.later.>"]}
      JSON
    SH
  }
}

resource "jetstream_stream" "FANFARE_RECEIPTS" {
  name         = "FANFARE_RECEIPTS"
  subjects     = ["fanfare.receipt.>"]
  retention    = "limits"
  storage      = "file"
  discard      = "new"
  max_age      = 604800
  max_bytes    = 2147483648
  replicas     = 3
  allow_direct = false
  deny_delete  = true
  deny_purge   = true
}

resource "jetstream_stream" "FANFARE_DEAD" {
  name         = "FANFARE_DEAD"
  subjects     = ["fanfare.dead.>", "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.FANFARE_EVENTS.*", "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.FANFARE_TASKS.*"]
  retention    = "limits"
  storage      = "file"
  discard      = "new"
  max_age      = 2592000
  max_bytes    = 268435456
  replicas     = 3
  allow_direct = true
  deny_delete  = false
  deny_purge   = false
}

resource "jetstream_stream" "FANFARE_AUDIT" {
  name         = "FANFARE_AUDIT"
  subjects     = ["fanfare.audit.>"]
  retention    = "limits"
  storage      = "file"
  discard      = "old"
  max_age      = 7776000
  max_bytes    = 1073741824
  replicas     = 3
  allow_direct = false
  deny_delete  = true
  deny_purge   = true
}

resource "jetstream_kv_bucket" "fanfare_devices" {
  name             = "fanfare_devices"
  history          = 1
  replicas         = 3
  limit_marker_ttl = 604800
}

resource "jetstream_kv_bucket" "fanfare_control" {
  name             = "fanfare_control"
  history          = 1
  replicas         = 3
  limit_marker_ttl = 3600
}

resource "jetstream_kv_bucket" "fanfare_keys" {
  name             = "fanfare_keys"
  history          = 1
  replicas         = 3
  limit_marker_ttl = 3600
}

resource "jetstream_consumer" "notifier" {
  stream_id       = "JETSTREAM_STREAM_FANFARE_EVENTS"
  durable_name    = "notifier"
  filter_subject  = "fanfare.event.>"
  deliver_all     = true
  ack_policy      = "explicit"
  ack_wait        = 30
  max_delivery    = -1
  max_ack_pending = 64
  max_waiting     = 512
  depends_on      = [terraform_data.FANFARE_EVENTS]
}

resource "jetstream_consumer" "notifier-ahead" {
  stream_id       = "JETSTREAM_STREAM_FANFARE_EVENTS"
  durable_name    = "notifier-ahead"
  filter_subject  = "fanfare.event.>"
  deliver_new     = true
  ack_policy      = "none"
  ack_wait        = 0
  max_delivery    = -1
  max_ack_pending = 0
  max_waiting     = 512
  headers_only    = true
  depends_on      = [terraform_data.FANFARE_EVENTS]
}

resource "jetstream_consumer" "send-myapp-urgent" {
  stream_id       = "JETSTREAM_STREAM_FANFARE_TASKS"
  durable_name    = "send-myapp-urgent"
  filter_subject  = "fanfare.task.myapp-urgent.>"
  deliver_all     = true
  ack_policy      = "explicit"
  ack_wait        = 30
  max_delivery    = -1
  max_ack_pending = 1000
  max_waiting     = 2048
  metadata        = { "fanfare.lane_epoch" = "1" }
  depends_on      = [terraform_data.FANFARE_TASKS]

  lifecycle {
    ignore_changes = [metadata]
  }
}

//! The lists themselves: every subject that a role really uses, and no other.
//!
//! Where the client library decides on a subject, the line says which call asks for it. Names with
//! a generated part cannot be narrowed: a wildcard stands for one whole token.

use super::{Allowed, Permissions, Role, Scope};
use crate::stream::{AHEAD_CONSUMER, EVENTS_CONSUMER};
use crate::subject::Names;

pub(super) fn of(role: Role, scope: &Scope) -> Permissions {
    let mut draft = Draft {
        scope,
        publish: Vec::new(),
        subscribe: Vec::new(),
    };
    draft.hear(format!("{}.>", role.inbox_prefix()), "answers");
    match role {
        Role::Fetcher => draft.fetcher(),
        Role::Notifier => draft.notifier(),
        Role::Api => draft.api(),
        Role::Ops => draft.ops(),
        Role::Auditor => draft.look(),
        Role::Owner => draft.owner(),
    }
    Permissions {
        role,
        publish: draft.publish,
        subscribe: draft.subscribe,
    }
}

/// Where the service of a role is asked: all services, those of its name, one of them; and what its
/// endpoint answers on. Each verb by its name, because the server takes `$SRV.>` for covered by
/// `$SRV.*` (tried on 2.15.1).
pub(super) fn service_subjects(names: &Names, role: Role) -> Vec<String> {
    let name = crate::service::name(names, role.name());
    let mut subjects = vec![format!("{}.ctl.{}.*.status", names.prefix(), role.name())];
    for verb in VERBS {
        subjects.push(format!("$SRV.{verb}"));
        subjects.push(format!("$SRV.{verb}.{name}"));
        subjects.push(format!("$SRV.{verb}.{name}.*"));
    }
    subjects
}

/// What services are asked (ADR-32).
const VERBS: [&str; 3] = ["PING", "INFO", "STATS"];

struct Draft<'a> {
    scope: &'a Scope,
    publish: Vec<Allowed>,
    subscribe: Vec<Allowed>,
}

impl Draft<'_> {
    fn names(&self) -> &Names {
        &self.scope.names
    }

    fn say(&mut self, subject: String, why: &'static str) {
        self.publish.push(Allowed { subject, why });
    }

    fn hear(&mut self, subject: String, why: &'static str) {
        self.subscribe.push(Allowed { subject, why });
    }

    /// A call of JetStream's API.
    fn call(&mut self, call: &str, stream: &str, why: &'static str) {
        let subject = format!("{}.{call}.{stream}", self.scope.api);
        self.say(subject, why);
    }

    /// The value of a key, written.
    fn key(&mut self, bucket: &str, key: &str, why: &'static str) {
        self.say(crate::control::kv_subject(bucket, key), why);
    }

    fn devices(&self) -> String {
        format!("KV_{}", self.names().devices_bucket())
    }

    fn control(&self) -> String {
        format!("KV_{}", self.names().control_bucket())
    }

    fn keys(&self) -> String {
        format!("KV_{}", self.names().keys_bucket())
    }

    /// The streams whose shape a role looks at before it starts.
    fn check_first(&mut self, streams: &[String]) {
        for stream in streams {
            self.call(
                "STREAM.INFO",
                stream,
                "its shape is checked before the start",
            );
        }
    }

    fn fetcher(&mut self) {
        let (names, control) = (self.names().clone(), self.names().control_bucket());
        self.check_first(&[names.events(), self.control()]);
        if self.scope.sources.is_empty() {
            self.say(names.all("event"), "events of any source");
            self.key(&control, "cursor.>", "where each input resumes");
            self.key(&control, "baseline.*", "what was there at the first look");
            self.key(&control, "lease.source.*", "who reads an exclusive source");
        }
        for source in self.scope.sources.clone() {
            let events = format!("{}.event.{source}.>", names.prefix());
            self.say(events, "events of a source");
            let cursor = format!("cursor.{source}.>");
            self.key(&control, &cursor, "where its inputs resume");
            let baseline = format!("baseline.{source}");
            self.key(&control, &baseline, "what was there at the first look");
            let lease = format!("lease.source.{source}");
            self.key(&control, &lease, "who reads it, if it is exclusive");
        }
        let stream = self.control();
        self.call(
            "STREAM.MSG.GET",
            &stream,
            "cursors, baselines, leases, pauses, members, from the leader",
        );
        self.member(Role::Fetcher);
    }

    fn api(&mut self) {
        let (names, devices) = (self.names().clone(), self.names().devices_bucket());
        self.check_first(&[
            names.events(),
            names.audit(),
            self.devices(),
            self.control(),
            self.keys(),
        ]);
        let events = format!("{}.event.api.>", names.prefix());
        self.say(events, "events that applications post");
        self.call(
            "STREAM.MSG.GET",
            &names.events(),
            "is a stored event the same",
        );
        self.key(&devices, "d.*", "device documents");
        let stream = self.devices();
        self.call("STREAM.MSG.GET", &stream, "a device, from the leader");
        self.load_devices();
        self.watch_devices();
        let stream = self.keys();
        self.call("STREAM.MSG.GET", &stream, "keys, from the leader");
        let used = names.keys_bucket();
        self.key(&used, "u.*.*", "when a key was used; it makes none");
        let control = names.control_bucket();
        self.key(
            &control,
            "sweep.*",
            "whose turn it is to remove what expired",
        );
        self.tell_what_became();
        self.audit(Role::Api);
        self.member(Role::Api);
    }

    /// Who changed what, under the user's own name.
    fn audit(&mut self, role: Role) {
        let subject = format!("{}.audit.{}.*.*", self.names().prefix(), role.name());
        self.say(subject, "who changed what");
    }

    /// What app developers ask. Only single messages, because this role stands in the internet: a
    /// consumer of its own could be made to deliver anywhere, and it has one for the devices alone.
    /// Dead letters are for operators.
    fn tell_what_became(&mut self) {
        let (names, control) = (self.names().clone(), self.control());
        let planners = format!("{}.{EVENTS_CONSUMER}", names.events());
        self.call("CONSUMER.INFO", &planners, "is an event planned yet");
        self.call("STREAM.INFO", &names.tasks(), "how long plans are kept");
        self.call("STREAM.MSG.GET", &names.tasks(), "the plan of an event");
        self.call("STREAM.MSG.GET", &names.receipts(), "what became of it");
        self.call("CONSUMER.LIST", &names.tasks(), "how the lanes stand");
        self.call("STREAM.MSG.GET", &control, "who is alive");
    }

    fn notifier(&mut self) {
        let (names, devices) = (self.names().clone(), self.names().devices_bucket());
        self.check_first(&[
            names.events(),
            names.tasks(),
            names.receipts(),
            names.dead(),
            self.devices(),
            self.control(),
        ]);
        self.take(&names.events(), EVENTS_CONSUMER);
        let ahead = format!("{}.{AHEAD_CONSUMER}", names.events());
        self.call("CONSUMER.INFO", &ahead, "binds it");
        self.call(
            "CONSUMER.MSG.NEXT",
            &ahead,
            "urgent events before their turn",
        );
        let lanes: Vec<String> = self.scope.lanes.iter().map(Names::send_consumer).collect();
        match lanes.as_slice() {
            [] => self.take(&names.tasks(), "*"),
            lanes => lanes.iter().for_each(|it| self.take(&names.tasks(), it)),
        }
        self.call("STREAM.MSG.GET", &names.events(), "the event of a task");
        self.call("STREAM.MSG.GET", &names.tasks(), "the plan that stands");
        self.call("STREAM.MSG.GET", &names.receipts(), "the last receipt");
        self.say(names.all("plan"), "plans");
        self.say(
            names.all("task"),
            "tasks; of any lane, because plans have any",
        );
        self.say(
            names.all("later"),
            "wake-ups; the right to any subject of TASKS",
        );
        self.say(names.all("receipt"), "receipts");
        self.say(names.all("dead"), "dead letters; it cannot read them");
        self.load_devices();
        self.watch_devices();
        let stream = self.devices();
        self.call("STREAM.MSG.GET", &stream, "a device whose token is gone");
        self.key(&devices, "d.*", "removes a token, by revision");
        self.key(&devices, "b.*", "barriers");
        let control = self.control();
        self.call("STREAM.MSG.GET", &control, "the members of its role");
        self.member(Role::Notifier);
    }

    /// Pulling from a durable, and settling. Acknowledgements have two forms: 2.14 and later have
    /// the second behind a flag, and it is to become the usual one.
    fn take(&mut self, stream: &str, durable: &str) {
        let of = format!("{stream}.{durable}");
        self.call("CONSUMER.INFO", &of, "binds the durable, asks for a pause");
        self.call("CONSUMER.MSG.NEXT", &of, "takes messages");
        self.say(format!("$JS.ACK.{of}.>"), "settles them");
        self.say(format!("$JS.ACK.*.*.{of}.>"), "settles them, second form");
    }

    /// Reading a stream in bulk: a consumer of the reader's own, which goes by itself. The name is
    /// the server's, so the call has its bare form.
    fn read_in_bulk(&mut self, stream: &str, why: &'static str) {
        self.call("CONSUMER.CREATE", stream, why);
        let any = format!("{stream}.*");
        self.call("CONSUMER.MSG.NEXT", &any, why);
    }

    fn load_devices(&mut self) {
        let devices = self.devices();
        self.read_in_bulk(&devices, "all devices at once");
    }

    /// The ordered watch: after a gap the client makes its consumer anew, under a name now, and removes
    /// the old one.
    fn watch_devices(&mut self) {
        let devices = self.devices();
        let keys = crate::control::kv_subject(&self.names().devices_bucket(), ">");
        let named = format!("{devices}.*.{keys}");
        self.call("CONSUMER.CREATE", &named, "the watch begins anew");
        let any = format!("{devices}.*");
        self.call("CONSUMER.DELETE", &any, "the watch begins anew");
        self.say(format!("$JS.FC.{devices}.>"), "flow control of the watch");
        let second = format!("$JS.FC.*.*.{devices}.>");
        self.say(second, "flow control, second form");
    }

    fn member(&mut self, role: Role) {
        let control = self.names().control_bucket();
        let key = format!("m.{}.*", role.name());
        self.key(&control, &key, "says that it lives");
        self.service(role);
    }

    /// A micro service, which operators ask. Where an answer is sent to is the asker's choice, so
    /// that only an operator's inbox is allowed.
    fn service(&mut self, role: Role) {
        for subject in service_subjects(self.names(), role) {
            self.hear(subject, "operators ask it");
        }
        self.say(
            format!("{}.>", Role::Ops.inbox_prefix()),
            "answers to operators",
        );
    }

    /// What everyone needs who looks at the whole system and changes nothing.
    fn look(&mut self) {
        let names = self.names().clone();
        let streams = [
            names.events(),
            names.tasks(),
            names.receipts(),
            names.dead(),
            names.audit(),
            self.devices(),
        ];
        let api = self.scope.api.clone();
        self.say(format!("{api}.INFO"), "what the account has");
        for what in ["STREAM.NAMES", "STREAM.LIST"] {
            self.say(format!("{api}.{what}"), "which streams there are");
        }
        self.call("STREAM.INFO", "*", "how they are, which subjects they hold");
        for what in ["CONSUMER.NAMES", "CONSUMER.LIST"] {
            self.call(what, "*", "which consumers there are");
        }
        self.call("CONSUMER.INFO", "*.*", "how they stand");
        for stream in streams {
            self.call("STREAM.MSG.GET", &stream, "one message, from the leader");
        }
        let control = self.control();
        self.call("STREAM.MSG.GET", &control, "members");
        self.read_in_bulk(&names.receipts(), "receipts of a large plan");
        self.read_in_bulk(&names.dead(), "dead letters");
        self.load_devices();
    }

    fn ops(&mut self) {
        self.look();
        self.audit(Role::Ops);
        let names = self.names().clone();
        let planners = format!("{}.{EVENTS_CONSUMER}", names.events());
        let lanes = format!("{}.*", names.tasks());
        self.call("CONSUMER.PAUSE", &planners, "pauses planning");
        self.call("CONSUMER.PAUSE", &lanes, "pauses a lane, resumes it");
        let control = names.control_bucket();
        self.key(&control, "lease.source.*", "takes a lease away");
        self.key(&control, "prefer.>", "whom leases should go to");
        self.key(&control, "pause.source.*", "pauses a source, resumes it");
        self.say(
            names.all("event"),
            "test pushes; an event that is read again",
        );
        self.say(names.all("task"), "a task that is sent again");
        self.say(names.all("receipt"), "the receipt that sends it again");
        for what in VERBS {
            self.say(format!("$SRV.{what}"), "micro services");
            self.say(format!("$SRV.{what}.>"), "micro services");
        }
        // Not on the other streams: there the same call changes a durable.
        for stream in [names.receipts(), names.dead()] {
            let viewer = format!("{stream}.*.>");
            self.call("CONSUMER.CREATE", &viewer, "`nats stream view`");
        }
        let status = format!("{}.ctl.*.*.status", names.prefix());
        self.say(status, "how a process is");
        for kind in ["event", "receipt", "dead"] {
            self.hear(names.all(kind), "live view");
        }
        for what in ["ADVISORY", "METRIC"] {
            self.hear(format!("$JS.EVENT.{what}.>"), "what the broker tells");
        }
    }

    fn owner(&mut self) {
        let api = self.scope.api.clone();
        self.say(
            format!("{api}.>"),
            "creates, changes and removes anything stored",
        );
        let keys = self.names().keys_bucket();
        self.key(&keys, "k.*.*", "hands keys out and takes them back");
        self.audit(Role::Owner);
        self.say("$JS.SNAPSHOT.ACK.>".to_owned(), "takes a backup");
        self.say("$JS.SNAPSHOT.RESTORE.>".to_owned(), "brings one back");
    }
}

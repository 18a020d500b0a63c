//! Every kind of request there is, and who may make it.

use fanfare_nats::permissions::Role;

/// How a row is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Published with an inbox: whoever may gets an answer.
    Asked,
    /// Published without: nobody answers.
    Told,
    /// Subscribed to.
    Heard,
}

pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) kind: Kind,
    pub(super) subject: &'static str,
    pub(super) payload: &'static str,
    pub(super) who: Vec<Role>,
}

/// The columns are fetcher (F), notifier (N), api (A), ops (O), auditor (U) and owner (W).
///
/// `asks`, `reads` a message, `pulls` and `sets` are answered to whoever may; `tells` is answered by
/// nobody; `hears` is a subscription.
const TABLE: &str = r"
# What is stored under our own subjects.
asks  F..O.. fanfare.event.usgs.x.first                                     an event of a source
asks  ..AO.. fanfare.event.api.x.first                                      an event of an application
asks  ...O.. fanfare.event.other.x.first                                    an event of a source elsewhere
asks  .N.... fanfare.plan.x                                                 a plan
asks  .N.O.. fanfare.task.ios-urgent.x.0                                    a task
asks  .N.... fanfare.later.x.ios-urgent.0.2                                 a wake-up
asks  .N.O.. fanfare.receipt.x.ios-urgent.0                                 a receipt
asks  .N.... fanfare.dead.refused.x.ios.0                                   a dead letter
asks  ..A... fanfare.audit.api.main.n1                                      what an api changed
asks  ...O.. fanfare.audit.ops.main.n1                                      what an operator changed
asks  .....W fanfare.audit.owner.main.n1                                    what the owner changed
asks  .NA... $KV.fanfare_devices.d.x                                        a device
asks  .N.... $KV.fanfare_devices.b.x                                        a barrier
asks  F..... $KV.fanfare_control.cursor.usgs.0                              a cursor
asks  F..... $KV.fanfare_control.baseline.usgs                              a baseline
asks  F..O.. $KV.fanfare_control.lease.source.usgs                          the lease of a source
asks  ...O.. $KV.fanfare_control.lease.source.other                         the lease of a source elsewhere
asks  ...O.. $KV.fanfare_control.prefer.fetcher                             a wish about leases
asks  ...O.. $KV.fanfare_control.prefer.source.usgs                         a wish about a lease
asks  ...O.. $KV.fanfare_control.pause.source.usgs                          the pause of a source
asks  F..... $KV.fanfare_control.m.fetcher.x                                a fetcher lives
asks  .N.... $KV.fanfare_control.m.notifier.x                               a notifier lives
asks  ..A... $KV.fanfare_control.m.api.x                                    an api lives
asks  ..A... $KV.fanfare_control.sweep.turn                                 the turn to remove what expired
asks  .....W $KV.fanfare_keys.k.main.x                                      a key
asks  ..A... $KV.fanfare_keys.u.main.x                                      when a key was used
asks  ...... $KV.fanfare_keys.x                                             anything else among keys

# Looking at streams and messages.
asks  ...OUW $JS.API.INFO                                                   the account
asks  ...OUW $JS.API.STREAM.NAMES                                           stream names
asks  ...OUW $JS.API.STREAM.LIST                                            all streams
asks  FNAOUW $JS.API.STREAM.INFO.FANFARE_EVENTS                             the events' stream
asks  .NAOUW $JS.API.STREAM.INFO.FANFARE_TASKS                              the tasks' stream
asks  .N.OUW $JS.API.STREAM.INFO.FANFARE_RECEIPTS                           the receipts' stream
asks  .N.OUW $JS.API.STREAM.INFO.FANFARE_DEAD                               the dead letters' stream
asks  ..AOUW $JS.API.STREAM.INFO.FANFARE_AUDIT                              the audit's stream
asks  .NAOUW $JS.API.STREAM.INFO.KV_fanfare_devices                         the devices' bucket
asks  FNAOUW $JS.API.STREAM.INFO.KV_fanfare_control                         the control bucket
asks  ..AOUW $JS.API.STREAM.INFO.KV_fanfare_keys                            the keys' bucket
reads .NAOUW $JS.API.STREAM.MSG.GET.FANFARE_EVENTS                          an event, read
reads .NAOUW $JS.API.STREAM.MSG.GET.FANFARE_TASKS                           a task, read
reads .NAOUW $JS.API.STREAM.MSG.GET.FANFARE_RECEIPTS                        a receipt, read
reads ...OUW $JS.API.STREAM.MSG.GET.FANFARE_DEAD                            a dead letter, read
reads ...OUW $JS.API.STREAM.MSG.GET.FANFARE_AUDIT                           the audit, read
reads .NAOUW $JS.API.STREAM.MSG.GET.KV_fanfare_devices                      a device, read
reads FNAOUW $JS.API.STREAM.MSG.GET.KV_fanfare_control                      members and cursors
reads ..A..W $JS.API.STREAM.MSG.GET.KV_fanfare_keys                         a key, read
reads .....W $JS.API.DIRECT.GET.KV_fanfare_control                          members by direct get
reads .....W $JS.API.DIRECT.GET.KV_fanfare_devices                          devices by direct get
asks  .....W $JS.API.DIRECT.GET.KV_fanfare_devices.$KV.fanfare_devices.d.x  a device by direct get
reads .....W $JS.API.DIRECT.GET.FANFARE_EVENTS                              events by direct get

# Consumers, and what is said to them.
asks  .NAOUW $JS.API.CONSUMER.INFO.FANFARE_EVENTS.notifier                  planners
asks  .N.OUW $JS.API.CONSUMER.INFO.FANFARE_EVENTS.notifier-ahead            what tells of events
asks  .N.OUW $JS.API.CONSUMER.INFO.FANFARE_TASKS.send-ios-urgent            a lane
asks  ...OUW $JS.API.CONSUMER.INFO.FANFARE_TASKS.send-x-urgent              a lane elsewhere
asks  ...OUW $JS.API.CONSUMER.NAMES.FANFARE_TASKS                           consumer names
asks  ..AOUW $JS.API.CONSUMER.LIST.FANFARE_TASKS                            all consumers
pulls .N...W $JS.API.CONSUMER.MSG.NEXT.FANFARE_EVENTS.notifier              takes an event
pulls .N...W $JS.API.CONSUMER.MSG.NEXT.FANFARE_EVENTS.notifier-ahead        hears of an event
pulls .N...W $JS.API.CONSUMER.MSG.NEXT.FANFARE_TASKS.send-ios-urgent        takes a task
tells .....W $JS.API.CONSUMER.MSG.NEXT.FANFARE_TASKS.send-x-urgent          takes a task of a lane elsewhere
tells .N.... $JS.ACK.FANFARE_EVENTS.notifier.1.1.1.1.0                      settles an event
tells .N.... $JS.ACK._.h.FANFARE_EVENTS.notifier.1.1.1.1.0                  settles an event, second form
tells .N.... $JS.ACK.FANFARE_TASKS.send-ios-urgent.1.1.1.1.0                settles a task
tells .N.... $JS.ACK._.h.FANFARE_TASKS.send-ios-urgent.1.1.1.1.0            settles a task, second form
tells ...... $JS.ACK.FANFARE_TASKS.send-x-urgent.1.1.1.1.0                  settles a task of a lane elsewhere
asks  .NAOUW $JS.API.CONSUMER.CREATE.KV_fanfare_devices                     reads devices
tells .NAOUW $JS.API.CONSUMER.MSG.NEXT.KV_fanfare_devices.x                 pulls devices
asks  ...OUW $JS.API.CONSUMER.INFO.KV_fanfare_devices.x                     a watch of devices
asks  .NA..W $JS.API.CONSUMER.CREATE.KV_fanfare_devices.x_1.$KV.fanfare_devices.>  watches devices again
asks  .NA..W $JS.API.CONSUMER.DELETE.KV_fanfare_devices.x                   ends the watch
tells .NA... $JS.FC.KV_fanfare_devices.x.1                                  flow control
tells .NA... $JS.FC._.h.KV_fanfare_devices.x.1                              flow control, second form
asks  ...OUW $JS.API.CONSUMER.CREATE.FANFARE_RECEIPTS                       reads receipts
tells ...OUW $JS.API.CONSUMER.MSG.NEXT.FANFARE_RECEIPTS.x                   pulls receipts
asks  ...OUW $JS.API.CONSUMER.CREATE.FANFARE_DEAD                           reads dead letters
tells ...OUW $JS.API.CONSUMER.MSG.NEXT.FANFARE_DEAD.x                       pulls dead letters
asks  ...O.W $JS.API.CONSUMER.CREATE.FANFARE_RECEIPTS.x.>                   views receipts
asks  ...O.W $JS.API.CONSUMER.CREATE.FANFARE_DEAD.x.>                       views dead letters
asks  .....W $JS.API.CONSUMER.CREATE.FANFARE_EVENTS.x.>                     views events
asks  .....W $JS.API.CONSUMER.CREATE.FANFARE_TASKS.send-ios-urgent.>        changes a lane, with a filter
asks  .....W $JS.API.CONSUMER.CREATE.FANFARE_EVENTS                         reads events in bulk
asks  .....W $JS.API.CONSUMER.CREATE.KV_fanfare_control                     reads control records in bulk
tells ...O.. $SRV.PING                                                      asks micro services
tells ...O.. $SRV.PING.fanfare-notifier                                     asks a micro service
tells ...O.. $SRV.INFO                                                      asks what micro services are
tells ...O.. $SRV.INFO.fanfare-notifier                                     asks what a micro service is
tells ...O.. $SRV.STATS                                                     asks how micro services are
tells ...O.. $SRV.STATS.fanfare-notifier                                    asks how a micro service is
tells ...O.. fanfare.ctl.notifier.n1.status                                 asks how a process is
tells ...... fanfare.ctl.notifier.n1.stop                                   tells a process to stop
tells FNA... _INBOX_ops.x.1                                                 answers an operator
tells ...... _INBOX_auditor.x.1                                             answers an auditor
tells ...... _INBOX_owner.x.1                                               answers an owner
tells ...... _INBOX_notifier.x.1                                            answers a notifier
tells ...... _INBOX.x.1                                                     answers anybody
tells ...... _R_.x.1                                                        answers another account

# What is listened to.
hears F..... _INBOX_fetcher.>                                               a fetcher's answers
hears .N.... _INBOX_notifier.>                                              a notifier's answers
hears ..A... _INBOX_api.>                                                   an api's answers
hears ...O.. _INBOX_ops.>                                                   an operator's answers
hears ....U. _INBOX_auditor.>                                               an auditor's answers
hears .....W _INBOX_owner.>                                                 an owner's answers
hears ...... _INBOX.>                                                       everybody's answers
hears ...O.. fanfare.event.>                                                events, live
hears ...O.. fanfare.receipt.>                                              receipts, live
hears ...O.. fanfare.dead.>                                                 dead letters, live
hears FNA... $SRV.PING                                                      is asked as a micro service
hears FNA... $SRV.INFO                                                      is asked as a micro service
hears FNA... $SRV.STATS                                                     is asked as a micro service
hears F..... $SRV.PING.fanfare-fetcher                                      is asked as a fetcher
hears F..... $SRV.PING.fanfare-fetcher.n1                                   is asked as this fetcher
hears F..... $SRV.INFO.fanfare-fetcher                                      is asked as a fetcher
hears F..... $SRV.INFO.fanfare-fetcher.n1                                   is asked as this fetcher
hears F..... $SRV.STATS.fanfare-fetcher                                     is asked as a fetcher
hears F..... $SRV.STATS.fanfare-fetcher.n1                                  is asked as this fetcher
hears F..... fanfare.ctl.fetcher.n1.status                                  is asked how this fetcher is
hears .N.... $SRV.PING.fanfare-notifier                                     is asked as a notifier
hears .N.... $SRV.PING.fanfare-notifier.n1                                  is asked as this notifier
hears .N.... $SRV.INFO.fanfare-notifier                                     is asked as a notifier
hears .N.... $SRV.INFO.fanfare-notifier.n1                                  is asked as this notifier
hears .N.... $SRV.STATS.fanfare-notifier                                    is asked as a notifier
hears .N.... $SRV.STATS.fanfare-notifier.n1                                 is asked as this notifier
hears .N.... fanfare.ctl.notifier.n1.status                                 is asked how this notifier is
hears ..A... $SRV.PING.fanfare-api                                          is asked as an api
hears ..A... $SRV.PING.fanfare-api.n1                                       is asked as this api
hears ..A... $SRV.INFO.fanfare-api                                          is asked as an api
hears ..A... $SRV.INFO.fanfare-api.n1                                       is asked as this api
hears ..A... $SRV.STATS.fanfare-api                                         is asked as an api
hears ..A... $SRV.STATS.fanfare-api.n1                                      is asked as this api
hears ..A... fanfare.ctl.api.n1.status                                      is asked how this api is
hears ...... $SRV.>                                                         whatever services are asked
hears ...... fanfare.ctl.>                                                  whatever processes are asked
hears ...... fanfare.task.>                                                 tasks, live
hears ...... $KV.fanfare_devices.>                                          devices, live
hears ...... $KV.fanfare_control.>                                          control records, live
hears ...... $KV.fanfare_keys.>                                             keys, live
asks  .....W $JS.API.CONSUMER.CREATE.KV_fanfare_keys                        reads keys in bulk
hears ...O.. $JS.EVENT.ADVISORY.>                                           the broker's advisories
hears ...O.. $JS.EVENT.METRIC.>                                             the broker's metrics
hears ...... $JS.ACK.>                                                      acknowledgements
hears ...... >                                                              everything

# What changes streams and consumers; what removes something comes last.
asks  ...O.W $JS.API.CONSUMER.PAUSE.FANFARE_EVENTS.notifier                 pauses planning
asks  ...O.W $JS.API.CONSUMER.PAUSE.FANFARE_TASKS.send-ios-urgent           pauses a lane
asks  .....W $JS.API.CONSUMER.CREATE.FANFARE_EVENTS.notifier                changes planners
asks  .....W $JS.API.CONSUMER.CREATE.FANFARE_TASKS.send-ios-urgent          changes a lane
asks  .....W $JS.API.CONSUMER.CREATE.KV_fanfare_devices.x                   names a consumer of devices
asks  .....W $JS.API.CONSUMER.DURABLE.CREATE.KV_fanfare_devices.x           a durable on devices
asks  .....W $JS.API.STREAM.CREATE.FANFARE_EVENTS                           makes a stream
asks  .....W $JS.API.STREAM.CREATE.OTHER                                    makes any stream
asks  .....W $JS.API.STREAM.UPDATE.FANFARE_RECEIPTS                         changes a stream
asks  .....W $JS.API.STREAM.SNAPSHOT.FANFARE_EVENTS                         copies a stream out
asks  .....W $JS.API.STREAM.RESTORE.FANFARE_EVENTS                          puts a stream back
tells .....W $JS.SNAPSHOT.ACK.FANFARE_EVENTS.x                              takes a backup\'s part
tells .....W $JS.SNAPSHOT.RESTORE.FANFARE_EVENTS.x                          brings a backup\'s part
asks  .....W $JS.API.STREAM.MSG.DELETE.FANFARE_DEAD                         removes a dead letter
asks  .....W $JS.API.STREAM.PURGE.FANFARE_AUDIT                             empties the audit
asks  .....W $JS.API.STREAM.MSG.DELETE.FANFARE_EVENTS                       removes an event
asks  .....W $JS.API.STREAM.PURGE.FANFARE_TASKS                             empties tasks
asks  .....W $JS.API.STREAM.PURGE.KV_fanfare_devices                        empties devices
asks  .....W $JS.API.CONSUMER.DELETE.FANFARE_EVENTS.notifier                removes planners
asks  .....W $JS.API.CONSUMER.DELETE.FANFARE_TASKS.send-ios-urgent          removes a lane
asks  .....W $JS.API.STREAM.DELETE.FANFARE_EVENTS                           removes events
asks  .....W $JS.API.STREAM.DELETE.FANFARE_RECEIPTS                         removes receipts
asks  .....W $JS.API.STREAM.DELETE.KV_fanfare_devices                       removes devices
";

fn letter(role: Role) -> char {
    match role {
        Role::Fetcher => 'F',
        Role::Notifier => 'N',
        Role::Api => 'A',
        Role::Ops => 'O',
        Role::Auditor => 'U',
        Role::Owner => 'W',
    }
}

pub(super) fn table() -> Vec<Row> {
    let rows = TABLE
        .lines()
        .filter(|it| !it.is_empty() && !it.starts_with('#'));
    rows.map(row).collect()
}

fn row(line: &'static str) -> Row {
    let (verb, line) = line.split_once(' ').unwrap();
    let (who, line) = line.trim().split_once(' ').unwrap();
    let (subject, what) = line.trim().split_once(' ').unwrap();
    let (kind, payload) = match verb {
        "asks" => (Kind::Asked, ""),
        "reads" => (Kind::Asked, r#"{"seq":1}"#),
        "pulls" => (Kind::Asked, r#"{"batch":1,"no_wait":true}"#),
        "sets" => (Kind::Asked, "{}"),
        "tells" => (Kind::Told, ""),
        "hears" => (Kind::Heard, ""),
        other => panic!("{other}"),
    };
    Row {
        what: what.trim(),
        kind,
        subject,
        payload,
        who: Role::ALL
            .into_iter()
            .filter(|it| who.contains(letter(*it)))
            .collect(),
    }
}

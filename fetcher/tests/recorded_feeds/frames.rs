//! What sockets received, frame by frame.

use bytes::Bytes;
use fanfare_fetcher::mapping::{Mapping, Reason, Tracker};
use serde_json::json;

use crate::read;
use crate::support::{example, source};

/// The frames that a recorded socket received: `EPOCH.FRACTION: FRAME`.
fn frames_of(bytes: &[u8]) -> Vec<Bytes> {
    bytes
        .split(|it| *it == b'\n')
        .filter(|line| line.first().is_some_and(u8::is_ascii_digit))
        .filter_map(|line| {
            let at = line.windows(2).position(|it| it == b": ")?;
            Some(Bytes::copy_from_slice(line[at + 2..].trim_ascii_end()))
        })
        .collect()
}

/// Python's `b'…'` back to its bytes.
fn unquoted(frame: &Bytes) -> Bytes {
    let Some(inner) = frame
        .strip_prefix(b"b'")
        .and_then(|it| it.strip_suffix(b"'"))
    else {
        return frame.clone();
    };
    let mut out = Vec::new();
    let mut rest = inner.iter().copied();
    while let Some(byte) = rest.next() {
        match (byte, byte == b'\\') {
            (_, true) => match rest.next().unwrap() {
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    out.push(
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap(),
                    );
                }
                b'n' => out.push(b'\n'),
                other => out.push(other),
            },
            (byte, false) => out.push(byte),
        }
    }
    Bytes::from(out)
}

#[test]
fn a_dropped_line_of_a_socket_is_a_gap() {
    let Some(bytes) = read("websocket/INDEPENDENT_RESERVE.ws.1.0") else {
        return;
    };
    let mapping = Mapping::compile(&example("independent-reserve")).unwrap();
    let frames = frames_of(&bytes);
    assert_eq!(frames.len(), 1665);
    let observed = mapping.observe_frames(0, &frames, &mut Tracker::default());
    assert_eq!(observed.n_missed, 0);
    assert_eq!(observed.rejects, []);
    assert_eq!(observed.observations.len() + observed.n_left_out, 1665);
    for dropped in [100, 700, 1400] {
        let mut frames = frames.clone();
        frames.remove(dropped);
        let observed = mapping.observe_frames(0, &frames, &mut Tracker::default());
        assert_eq!(observed.n_missed, 1, "line {dropped}");
    }
}

#[test]
fn own_frames_with_one_dropped_are_a_gap_and_heartbeats_are_none() {
    let frame = |channel: &str, nonce: u64| {
        Bytes::from(json!({
            "Channel": channel, "Nonce": nonce, "Event": "NewOrder", "Time": 1_772_366_400_000_u64,
            "Data": {"OrderGuid": format!("{channel}-{nonce}"), "Volume": 5000.0},
        }).to_string())
    };
    let heartbeat = Bytes::from_static(br#"{"Time":1649023809081,"Event":"Heartbeat"}"#);
    let mapping = Mapping::compile(&example("independent-reserve")).unwrap();
    let mut tracker = Tracker::default();
    let frames = [
        frame("eth", 1),
        heartbeat.clone(),
        frame("dot", 70),
        frame("eth", 2),
        heartbeat,
    ];
    let observed = mapping.observe_frames(0, &frames, &mut tracker);
    assert_eq!(
        (
            observed.n_missed,
            observed.observations.len(),
            observed.n_left_out
        ),
        (0, 3, 2)
    );
    let observed = mapping.observe_frames(0, &[frame("eth", 4), frame("dot", 71)], &mut tracker);
    assert_eq!(observed.n_missed, 1);
}

#[test]
fn prices_of_a_recorded_socket_are_read_at_full_rate() {
    let Some(bytes) = read("websocket/COINBASE.ws.28.0") else {
        return;
    };
    let mapping = Mapping::compile(&example("coinbase")).unwrap();
    let observed = mapping.observe_frames(0, &frames_of(&bytes), &mut Tracker::default());
    assert_eq!(observed.rejects, []);
    assert_eq!(observed.observations.len(), 97, "one per match");
    assert_eq!(observed.n_left_out, 9719 + 10 + 10 + 3 + 107);
}

#[test]
fn arrays_and_repeated_heartbeats_of_a_recorded_socket_do_no_harm() {
    let mapping = Mapping::compile(&source(
        r#"
        [[source]]
        name = "kraken"
        id = "{{ item[3] }}.{{ item[1][0][2] }}"
        when = "item is sequence and item[2] == 'trade'"
        topics = ["trades.{{ item[3] | slug }}"]
        title = "{{ item[3] }} at {{ item[1][0][0] }}"
        [[source.input]]
        websocket = "wss://ws.kraken.com"
        ignore = "frame is mapping and frame.event is defined"
        "#,
    ))
    .unwrap();
    for n in 48..=50 {
        let Some(bytes) = read(&format!("websocket/KRAKEN.ws.{n}.0")) else {
            return;
        };
        let observed = mapping.observe_frames(0, &frames_of(&bytes), &mut Tracker::default());
        assert_eq!(observed.rejects, [], "socket {n}");
        assert!(observed.n_left_out > 0);
    }
}

#[test]
fn binary_frames_of_a_recorded_socket_are_read() {
    let Some(bytes) = read("nasty/UPBIT.ws.62.0") else {
        return;
    };
    let frames: Vec<Bytes> = frames_of(&bytes).iter().map(unquoted).collect();
    assert_eq!(frames.len(), 449);
    let mapping = Mapping::compile(&example("upbit")).unwrap();
    let observed = mapping.observe_frames(0, &frames, &mut Tracker::default());
    assert_eq!(observed.rejects, []);
    assert!(
        observed.observations.len() > 10,
        "{} trades",
        observed.observations.len()
    );
    assert_eq!(observed.observations.len() + observed.n_left_out, 449);
}

#[test]
fn own_binary_frames_are_read() {
    let mapping = Mapping::compile(&example("upbit")).unwrap();
    let trade = r#"{"ty":"trade","cd":"KRW-BTC","ttms":1772366400000,"tp":1.5,"tv":2.5,"sid":7}"#;
    let frames = [
        Bytes::from(trade),
        Bytes::from_static(b"\x00\xff\xfe not JSON"),
    ];
    let observed = mapping.observe_frames(0, &frames, &mut Tracker::default());
    assert_eq!(observed.observations[0].item, "KRW-BTC.7");
    assert_eq!(observed.rejects[0].reason, Reason::Frame);
}

//! The text of a server's configuration file; pure.

use std::fmt::Write;
use std::path::Path;

use super::host::Limits;
use super::options::{Options, SyncInterval};

/// Renders the configuration of a server whose data, log and ports file live in `data`.
pub(super) fn render(options: &Options, data: &Path, limits: Limits) -> String {
    let port = |port: Option<u16>| port.map_or(-1, i32::from);
    let folder = quoted(&data.to_string_lossy());
    let log = quoted(&data.join(super::store::LOG).to_string_lossy());
    let sync = match options.sync_interval {
        SyncInterval::Always => "always".to_owned(),
        SyncInterval::Every(interval) => format!("\"{}ms\"", interval.as_millis().max(1)),
    };
    let mut text = format!(
        "# Written by fanfare at each start; changes are lost.
server_name: {name}
listen: \"127.0.0.1:{listen}\"
http: \"127.0.0.1:{monitoring}\"
ports_file_dir: {folder}
log_file: {log}
logfile_size_limit: 8MB
logfile_max_num: 3
max_pending: 256MB
ping_interval: \"{ping}s\"
lame_duck_duration: \"30s\"
jetstream {{
  store_dir: {folder}
  max_mem: {max_mem}
  max_file: {max_file}
  sync_interval: {sync}
}}
",
        name = quoted(&options.name),
        listen = port(options.port),
        monitoring = port(options.monitoring_port),
        ping = options.ping_interval.as_secs().max(1),
        max_mem = limits.memory_bytes,
        max_file = limits.file_bytes,
    );
    if let Some((user, password)) = &options.credentials {
        let (user, password) = (quoted(user), quoted(password));
        // Writing to a String cannot fail.
        let _ok = writeln!(
            text,
            "authorization {{ user: {user}, password: {password} }}"
        );
    }
    if let Some(route) = &options.route {
        let routes: Vec<_> = route
            .ports
            .iter()
            .map(|it| format!("\"nats://route:{}@127.0.0.1:{it}\"", route.password))
            .collect();
        let (name, port, routes) = (quoted(&route.cluster), route.port, routes.join(", "));
        let password = quoted(&route.password);
        let _ok = writeln!(
            text,
            "cluster {{
  name: {name}
  listen: \"127.0.0.1:{port}\"
  authorization {{ user: route, password: {password} }}
  routes: [{routes}]
}}"
        );
    }
    text.push_str(&options.extra);
    text
}

/// A string that the server reads as it is, whatever is in it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(options: &Options) -> String {
        render(
            options,
            Path::new("/d"),
            Limits {
                memory_bytes: 1,
                file_bytes: 2,
            },
        )
    }

    #[test]
    fn everything_listens_on_loopback_by_number_and_syncs_always_by_default() {
        let text = rendered(&Options::default());
        assert!(text.contains("listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\""));
        assert!(text.contains("sync_interval: always"));
        assert!(!text.contains("localhost") && !text.contains("0.0.0.0"));
        assert!(!text.contains("authorization"));
    }

    #[test]
    fn servers_of_a_cluster_show_one_another_a_password() {
        let route = super::super::options::Route {
            cluster: "c".into(),
            port: 2,
            ports: vec![1, 2],
            password: "p1".into(),
        };
        let text = rendered(&Options {
            route: Some(route),
            ..Options::default()
        });
        assert!(text.contains("authorization { user: route, password: \"p1\" }"));
        assert!(text.contains(
            "routes: [\"nats://route:p1@127.0.0.1:1\", \"nats://route:p1@127.0.0.1:2\"]"
        ));
        assert!(!text.contains("localhost") && !text.contains("0.0.0.0"));
    }

    #[test]
    fn passwords_cannot_leave_their_quotes() {
        let credentials = Some(("u".into(), "a\"b\\c }\n".into()));
        let text = rendered(&Options {
            credentials,
            ..Options::default()
        });
        assert!(text.contains(r#"password: "a\"b\\c }\n" }"#), "{text}");
    }
}

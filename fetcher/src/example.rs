//! The shipped example sources, as `docs/sources` has them; tests keep them true.

/// Name and TOML text of each example.
pub const EXAMPLES: [(&str, &str); 9] = [
    ("usgs", include_str!("../../docs/sources/usgs.toml")),
    (
        "usgs-every-quake",
        include_str!("../../docs/sources/usgs-every-quake.toml"),
    ),
    ("nws", include_str!("../../docs/sources/nws.toml")),
    ("kev", include_str!("../../docs/sources/kev.toml")),
    ("rustsec", include_str!("../../docs/sources/rustsec.toml")),
    (
        "github-issues",
        include_str!("../../docs/sources/github-issues.toml"),
    ),
    (
        "independent-reserve",
        include_str!("../../docs/sources/independent-reserve.toml"),
    ),
    ("coinbase", include_str!("../../docs/sources/coinbase.toml")),
    ("upbit", include_str!("../../docs/sources/upbit.toml")),
];

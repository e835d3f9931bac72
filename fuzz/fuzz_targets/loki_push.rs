//! The body of a push to the mock Loki, in each form that Loki reads.
#![no_main]

use flatline::loki::config::Config;
use flatline::loki::weather::FAIR;
use flatline::loki::judge::{Court, judge};
use flatline::loki::push::{self, Headers, Terms, Version};
use flatline::loki::tenants::Tenants;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

const TYPES: [&str; 4] = ["application/json", "application/x-protobuf", "text/plain; charset=", ""];
const ENCODINGS: [&str; 5] = ["", "snappy", "gzip", "deflate", "br"];

fuzz_target!(|input: (u8, u8, bool, &[u8])| {
    let (content_type, encoding, old, body) = input;
    let headers = Headers {
        content_type: TYPES[usize::from(content_type) % TYPES.len()],
        content_encoding: ENCODINGS[usize::from(encoding) % ENCODINGS.len()],
        backfill_shard: "",
    };
    let version = if old { Version::V0 } else { Version::V1 };
    let (config, tenant) = (Config::default(), "fake");
    let terms = Terms {
        body_bytes_max: config.distributor.max_recv_msg_size,
        discover_service_name: &config.limits_of(tenant).discover_service_name,
    };
    if let Ok(mut push) = push::read(version, headers, terms, body) {
        let now = jiff::Timestamp::constant(1_800_000_000, 0);
        let court = Court { config: &config, tenant, now, zone: &TimeZone::UTC, weather: &FAIR };
        judge(court, &mut Tenants::default(), &mut push);
    }
});

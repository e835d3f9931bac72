//! `flatline mock-loki`.

use std::path::PathBuf;

use clap::Args;

use crate::units::Span;

pub(super) const MOCK_LOKI_HELP: &str = concat!(
    "\
The config file has Loki's own keys and forms (1h, 100B, 1KB). Keys that this mock does not keep are refused
with their place; without auth_enabled: true every push is that of one tenant. An example:

  auth_enabled: true
  limits_config:
    reject_old_samples_max_age: 1h
    ingestion_rate_mb: 4
  overrides:
    some-tenant:
      max_line_size: 100B
  ingester:
    max_chunk_age: 2h

With --faults, pushes meet what a file plans, in times from the start on. The same seed draws the same:

  seed: 7
  faults:
    - {at: 10s, for: 5s, every: 1m, fault: {status: {code: 429, retry_after: 3s, share: 0.5}}}
    - {at: 20s, for: 5s, fault: hang}                        # also: reset, half_close, outage
    - {at: 30s, for: 5s, fault: {slow: {p50: 100ms, p99: 2s}}}
    - {at: 40s, for: 5s, fault: {slow_body: 100ms}}
    - {at: 50s, for: 5s, fault: {window: 10m}}
    - {at: 0s, for: 48h, fault: {reject: {share: 0.01, of: entries}}}     # also: streams, batches
    - {at: 1m, for: 5s, fault: {clock_step: -2h}}
    - {at: 2m, for: 5s, fault: {tamper: {share: 0.1, how: withhold}}}     # also: double, alter, reorder

docs/faults.md says what each does. The summary counts the pushes that got no answer (pushes_unanswered) and the
lines that were tampered with (tampered).

With --keep, GET /loki/api/v1/query_range reads back what was stored: selectors with =, start, end, since,
limit and direction, as Loki has them.

",
    exit_codes!()
);

/// Options of `flatline mock-loki`.
#[derive(Args, Debug)]
pub struct MockLokiArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3100")]
    pub listen: std::net::SocketAddr,
    /// Lets it listen where other machines reach it
    #[arg(long)]
    pub expose: bool,
    /// The config, with Loki's own keys: auth_enabled, limits_config, overrides and others
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What goes wrong, and when (see below)
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// What is older is refused: reject_old_samples_max_age of limits_config [default: the config's, or 7d]
    #[arg(long, value_name = "DURATION")]
    pub max_age: Option<Span>,
    /// Keeps the last N stored entries, and answers /loki/api/v1/query_range from them
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep: usize,
    /// Makes /ready say so at once, and not after 15 seconds as Loki does
    #[arg(long)]
    pub ready_at_once: bool,
    /// Prints the summary as one JSON document
    #[arg(long)]
    pub json: bool,
}

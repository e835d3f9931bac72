//! Why an entry is not stored: Loki's own words, as in its metric `loki_discarded_samples_total{reason}`
//! (`pkg/validation/validate.go`).

use crate::audit::ledger::Fate;

/// Older than `reject_old_samples_max_age`.
pub(super) const TOO_OLD: Fate = Fate::Refused("greater_than_max_sample_age");
/// Further ahead than `creation_grace_period`.
pub(super) const TOO_NEW: Fate = Fate::Refused("too_far_in_future");
/// Too far behind the newest entry of its stream.
pub(super) const TOO_FAR_BEHIND: Fate = Fate::Refused("too_far_behind");
/// Longer than `max_line_size`.
pub(super) const TOO_LONG: Fate = Fate::Refused("line_too_long");
/// A stream without a label, or without one that is enforced.
pub(super) const MISSING_LABELS: Fate = Fate::Refused("missing_labels");
/// More labels than `max_label_names_per_series`.
pub(super) const TOO_MANY_LABELS: Fate = Fate::Refused("max_label_names_per_series");
/// Longer than `max_label_name_length`.
pub(super) const LABEL_NAME_TOO_LONG: Fate = Fate::Refused("label_name_too_long");
/// Longer than `max_label_value_length`.
pub(super) const LABEL_VALUE_TOO_LONG: Fate = Fate::Refused("label_value_too_long");
/// One label twice.
pub(super) const DUPLICATE_LABELS: Fate = Fate::Refused("duplicate_label_names");
/// Structured metadata where it is not allowed.
pub(super) const METADATA_DISALLOWED: Fate = Fate::Refused("disallowed_structured_metadata");
/// More bytes of it than `max_structured_metadata_size`.
pub(super) const METADATA_TOO_LARGE: Fate = Fate::Refused("structured_metadata_too_large");
/// More of it than `max_structured_metadata_entries_count`.
pub(super) const METADATA_TOO_MANY: Fate = Fate::Refused("structured_metadata_too_many");
/// The tenant is blocked.
pub(super) const BLOCKED: Fate = Fate::Refused("blocked_ingestion");
/// Beyond the tenant's rate.
pub(super) const RATE_LIMITED: Fate = Fate::Refused("rate_limited");
/// Beyond the stream's rate.
pub(super) const STREAM_RATE_LIMITED: Fate = Fate::Refused("per_stream_rate_limit");
/// One stream too many.
pub(super) const STREAM_LIMIT: Fate = Fate::Refused("stream_limit");
/// Loki has no word for a push that fails as a whole: too much under way, a message too large, an empty name.
pub(super) const WHOLE_PUSH: Fate = Fate::Refused("push_failed");
/// Nor for a line that is refused on purpose, by the plan of faults.
pub(super) const PLANNED: Fate = Fate::Refused("planned");

/// Whether any goes on, or is stored.
pub(super) fn any_accepted(fates: &[Fate]) -> bool {
    fates.contains(&Fate::Accepted)
}

//! Loki's limits under Loki's own keys, with Loki's defaults: only those that this mock keeps.
//!
//! They are listed once. From the list come the limits themselves and what a file may say of them: a key
//! that it leaves out keeps the value beneath it, so that a tenant's `overrides` lie over `limits_config`
//! and that over the defaults.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::forms::{Age, Moment, Size};

/// The labels from which Loki guesses `service_name`, in its order.
const SERVICE_LABELS: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// A value as the file writes it, which becomes the value that is used.
trait Form<T> {
    fn over(self, beneath: &T) -> T;
}

macro_rules! plain_forms {
    ($($kind:ty),*) => { $(impl Form<$kind> for $kind {
        fn over(self, _: &$kind) -> $kind {
            self
        }
    })* };
}

plain_forms!(bool, f64, u16, usize, String, Vec<String>);

impl Form<usize> for Size {
    fn over(self, _: &usize) -> usize {
        self.0
    }
}

impl Form<Duration> for Age {
    fn over(self, _: &Duration) -> Duration {
        self.0
    }
}

impl Form<Option<Timestamp>> for Moment {
    fn over(self, _: &Option<Timestamp>) -> Option<Timestamp> {
        self.0
    }
}

macro_rules! keys {
    ($(#[$what:meta])* $name:ident read as $file:ident {
        $($(#[$doc:meta])* $key:ident: $kind:ty as $form:ty = $default:expr,)*
    }) => {
        $(#[$what])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$doc])* pub $key: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        /// What a file says of them.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $file {
            $($key: Option<$form>,)*
        }

        impl $file {
            /// Laid over what stands beneath.
            pub(super) fn over(self, beneath: &$name) -> $name {
                $name {
                    $($key: match self.$key {
                        Some(said) => Form::over(said, &beneath.$key),
                        None => beneath.$key.clone(),
                    },)*
                }
            }
        }
    };
}

keys! {
    /// One tenant's limits. Of sizes and counts 0 means none where Loki says so.
    Limits read as LimitsFile {
        /// Bytes that a tenant may send in a second, in units of 2^20.
        ingestion_rate_mb: f64 as f64 = 4.0,
        /// What it may send at once. A push above it never passes.
        ingestion_burst_size_mb: f64 as f64 = 6.0,
        /// Bytes that one stream may take in a second.
        per_stream_rate_limit: usize as Size = 3 << 20,
        /// What it may take at once.
        per_stream_rate_limit_burst: usize as Size = 15 << 20,
        /// What becomes of a stream that is pushed faster than one stream takes.
        shard_streams: ShardStreams as ShardStreamsFile = ShardStreams::default(),
        /// A new stream beyond this many is refused; 0 for no limit.
        max_global_streams_per_user: usize as usize = 5000,
        /// Whether old entries are refused at all.
        reject_old_samples: bool as bool = true,
        /// What is older than this against now is refused.
        reject_old_samples_max_age: Duration as Age = Duration::from_hours(7 * 24),
        /// What is further than this in the future is refused.
        creation_grace_period: Duration as Age = Duration::from_mins(10),
        /// A longer line is refused, or cut; 0 for no limit. Bytes.
        max_line_size: usize as Size = 256 << 10,
        /// Whether a longer line is cut and kept.
        max_line_size_truncate: bool as bool = false,
        /// What a cut line ends with; it counts for the length.
        max_line_size_truncate_identifier: String as String = String::new(),
        /// A stream with more labels than this is refused; `service_name` is not counted.
        max_label_names_per_series: usize as usize = 15,
        /// A stream with a longer label name is refused. Bytes.
        max_label_name_length: usize as usize = 1024,
        /// A stream with a longer label value is refused. Bytes.
        max_label_value_length: usize as usize = 2048,
        /// A stream without one of these labels is refused.
        enforced_labels: Vec<String> as Vec<String> = Vec::new(),
        /// Whether entries may carry structured metadata.
        allow_structured_metadata: bool as bool = true,
        /// An entry with more of it is refused; 0 for no limit. Bytes.
        max_structured_metadata_size: usize as Size = 64 << 10,
        /// An entry with more pairs is refused; 0 for no limit.
        max_structured_metadata_entries_count: usize as usize = 128,
        /// Nothing is stored before this moment.
        block_ingestion_until: Option<Timestamp> as Moment = None,
        /// What a push is answered with until then; 200 is answered as if all were stored.
        block_ingestion_status_code: u16 as u16 = 260,
        /// Labels from which `service_name` is guessed; none and it is not added.
        discover_service_name: Vec<String> as Vec<String> = SERVICE_LABELS.map(str::to_owned).to_vec(),
        /// Whether entries get the metadata `detected_level`.
        discover_log_levels: bool as bool = true,
        /// Whether an entry at the time of the one before it, but with another line, is moved behind it.
        increment_duplicate_timestamp: bool as bool = false,
        /// A query for more entries is refused.
        max_entries_limit_per_query: usize as usize = 5000,
    }
}

keys! {
    /// Loki splits a stream that comes too fast into several. The mock keeps it as one, with room for as
    /// many as Loki would have made of it.
    ShardStreams read as ShardStreamsFile {
        /// Without it a stream at its limit is taken as far as it goes; with it, not at all.
        enabled: bool as bool = true,
        /// Bytes a second that one part should take.
        desired_rate: usize as Size = 1536 << 10,
    }
}

impl Form<ShardStreams> for ShardStreamsFile {
    fn over(self, beneath: &ShardStreams) -> ShardStreams {
        Self::over(self, beneath)
    }
}

keys! {
    /// Loki's block `ingester`: what holds for all tenants.
    IngesterConfig read as IngesterFile {
        /// What is further behind its stream's newest entry than half of this is refused.
        max_chunk_age: Duration as Age = Duration::from_hours(2),
        /// A stream that was not written to for this long is forgotten, and its newest entry with it.
        chunk_idle_period: Duration as Age = Duration::from_mins(30),
        /// How long after `POST /flush` a stream is forgotten that was not written to since.
        flush_check_period: Duration as Age = Duration::from_secs(30),
        /// Its standing in the ring.
        lifecycler: Lifecycler as LifecyclerFile = Lifecycler::default(),
    }
}

keys! {
    /// Loki's block `ingester.lifecycler`.
    Lifecycler read as LifecyclerFile {
        /// How long after the start `/ready` says so.
        min_ready_duration: Duration as Age = Duration::from_secs(15),
    }
}

impl Form<Lifecycler> for LifecyclerFile {
    fn over(self, beneath: &Lifecycler) -> Lifecycler {
        Self::over(self, beneath)
    }
}

keys! {
    /// Loki's block `distributor`.
    DistributorConfig read as DistributorFile {
        /// A longer body is refused. Bytes as they come, compressed or not.
        max_recv_msg_size: usize as Size = 100 << 20,
        /// A push beyond this is answered with 503; 0 for no limit. Bytes once undone.
        max_inflight_bytes: usize as Size = 0,
    }
}

keys! {
    /// Loki's block `server`.
    ServerConfig read as ServerFile {
        /// What goes on from the distributor to the ingester in one message is refused beyond this.
        grpc_server_max_recv_msg_size: usize as Size = 4 << 20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str, beneath: &Limits) -> Limits {
        serde_saphyr::from_str::<LimitsFile>(yaml).unwrap().over(beneath)
    }

    #[test]
    fn limits_are_read_in_lokis_forms_and_what_is_left_out_keeps_its_value() {
        let beneath = Limits { max_label_name_length: 7, ..Limits::default() };
        let yaml = "reject_old_samples_max_age: 1h\nmax_line_size: 1KB\ningestion_rate_mb: 0.001\n\
                    per_stream_rate_limit: 100\nblock_ingestion_until: \"2099-01-01T00:00:00Z\"\n\
                    shard_streams:\n  enabled: false\ndiscover_service_name: []\nenforced_labels: [team, env]\n";
        let expected = Limits {
            reject_old_samples_max_age: Duration::from_hours(1),
            max_line_size: 1024,
            ingestion_rate_mb: 0.001,
            per_stream_rate_limit: 100,
            block_ingestion_until: Some("2099-01-01T00:00:00Z".parse().unwrap()),
            shard_streams: ShardStreams { enabled: false, ..ShardStreams::default() },
            discover_service_name: Vec::new(),
            enforced_labels: vec!["team".to_owned(), "env".to_owned()],
            ..beneath.clone()
        };
        assert_eq!(read(yaml, &beneath), expected);
    }
}

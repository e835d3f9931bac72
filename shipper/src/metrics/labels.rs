//! The closed sets of values that a metric's label may take.

use std::fmt;

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};

/// An enum that is a whole label set of one label; `ALL` lets its counters start at 0.
macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident in $label:literal { $($(#[$member_doc:meta])* $member:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$member_doc])* $member,)+
        }

        impl $name {
            /// Each member once.
            pub const ALL: &[Self] = &[$(Self::$member),+];

            /// As it stands on the metrics page.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$member => $text,)+
                }
            }
        }

        impl EncodeLabelSet for $name {
            fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), fmt::Error> {
                ($label, self.as_str()).encode(encoder.encode_label())
            }
        }
    };
}

/// One of the tenants of the config; empty if no tenant is named to Loki.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Tenant {
    tenant: String,
}

impl Tenant {
    /// By its name.
    #[must_use]
    pub fn of(name: Option<&str>) -> Self {
        Self { tenant: name.unwrap_or_default().to_owned() }
    }
}

closed_set! {
    /// What became of a config that was to be read again.
    Reload in "result" {
        /// It is in force.
        Applied = "applied",
        /// It can't be used; the old one is in force.
        Rejected = "rejected",
    }
}

closed_set! {
    /// What a task of ours is for.
    TaskKind in "kind" {
        /// Follows Docker's events.
        Discovery = "discovery",
        /// Drives one connection to the Docker Engine.
        DockerConnection = "docker_connection",
        /// The source's own loop.
        Source = "source",
        /// Reads one container's log.
        Reader = "reader",
        /// From records to batches.
        Pipeline = "pipeline",
        /// From batches to outcomes.
        Delivery = "delivery",
        /// Tries one refused batch again, in the archived design; no other has a task for that.
        Retry = "retry",
        /// Accepts admin connections.
        Admin = "admin",
        /// Serves one admin connection.
        AdminConnection = "admin_connection",
    }
}

closed_set! {
    /// Why a line was passed over before work was spent on it.
    SkipReason in "reason" {
        /// Older than the window, and the policy is to drop.
        TooOld = "too_old",
        /// Older than the configured start of a container that was there before us.
        BeforeStart = "before_start",
        /// No line could be decoded there: torn JSON, zero bytes.
        Corrupt = "corrupt",
    }
}

closed_set! {
    /// Why a line was given up after work was spent on it.
    DropReason in "reason" {
        /// Further in the future than the window, and the policy is to drop.
        TooNew = "too_new",
        /// It aged out of the window while it waited, and the policy is to drop.
        TooOld = "too_old",
        /// Further behind its stream's newest line than Loki takes, and the policy is to drop.
        TooFarBehind = "too_far_behind",
        /// It matches one of `lines.drop`.
        Pattern = "pattern",
        /// Loki refused it for good, and there are no dead letters (archived design).
        Refused = "refused",
        /// It waited longest in a retry queue that was full, and there are no dead letters (archived design).
        RetryQueueFull = "retry_queue_full",
    }
}

closed_set! {
    /// Which way a time was moved.
    Direction in "direction" {
        /// Forward: the line was too old.
        Up = "up",
        /// Back: the line was in the future.
        Down = "down",
    }
}

closed_set! {
    /// Which request of the Engine API.
    Endpoint in "endpoint" {
        /// `GET /_ping` or `/version`.
        Version = "version",
        /// `GET /containers/json`.
        List = "list",
        /// `GET /containers/{id}/json`.
        Inspect = "inspect",
        /// `GET /containers/{id}/logs`.
        Logs = "logs",
        /// `GET /events`.
        Events = "events",
    }
}

closed_set! {
    /// How a push ended.
    PushStatus in "status" {
        /// Stored.
        NoContent = "204",
        /// Refused, though it looks like success.
        Blocked = "260",
        /// Partly refused, or unreadable.
        BadRequest = "400",
        /// No tenant or a wrong key.
        Unauthorized = "401",
        /// Not allowed.
        Forbidden = "403",
        /// No such path.
        NotFound = "404",
        /// Too slow.
        RequestTimeout = "408",
        /// Too large.
        TooLarge = "413",
        /// No streams.
        Unprocessable = "422",
        /// Over a limit.
        TooManyRequests = "429",
        /// Loki's own fault.
        InternalError = "500",
        /// A gateway's.
        BadGateway = "502",
        /// Busy or starting.
        Unavailable = "503",
        /// A gateway waited in vain.
        GatewayTimeout = "504",
        /// Any other number.
        Other = "other",
        /// No connection, or it broke.
        Connection = "connection",
        /// No answer in time.
        Timeout = "timeout",
    }
}

impl PushStatus {
    /// Of an answer's number.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            204 => Self::NoContent,
            260 => Self::Blocked,
            400 => Self::BadRequest,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            408 => Self::RequestTimeout,
            413 => Self::TooLarge,
            422 => Self::Unprocessable,
            429 => Self::TooManyRequests,
            500 => Self::InternalError,
            502 => Self::BadGateway,
            503 => Self::Unavailable,
            504 => Self::GatewayTimeout,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_status_is_the_number_it_shows() {
        for status in PushStatus::ALL {
            if let Ok(number) = status.as_str().parse() {
                assert_eq!(PushStatus::of(number), *status);
            }
        }
        assert_eq!(PushStatus::of(418), PushStatus::Other);
    }
}

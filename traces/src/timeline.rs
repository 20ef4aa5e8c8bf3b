//! Timelines: spans of what ran where and when, simulated or measured, in one type.
//!
//! ```text
//! gpu0 compute  ▇▇linear▇▇ ▇attention▇        ▇linear▇
//!      comm.              ▇▇▇all-gather▇▇▇───▶ (message)
//! gpu1 compute  ▇▇linear▇▇ ▇attention▇        ▇linear▇
//! ```
//!
//! Guarantees of a [`Timeline`]:
//! 1. Every span ends no earlier than it starts.
//! 2. Every message names two spans of the timeline, and is received no earlier than it is sent.
//! 3. The samples of a link are in ascending order of time.
//!
//! Not modelled: spans of one stream may overlap (several messages can be under way at once), and
//! a span says nothing about why it started when it did.

mod chrome;
mod file;
pub mod kineto;

use thiserror::Error;
use topologies::{Bandwidth, Bytes, DeviceId, LinkId, SimDuration, SimTime};

pub use chrome::write_chrome;
pub use file::{ReadError, read, write};

/// Declares an enum of names: its variants in order, and each one's word in files.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every variant, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it in files and reports.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words!(
    /// One of a device's streams: what is in order with what.
    Stream {
        /// Layers of the model.
        Compute = "compute",
        /// Messages to other devices.
        Communication = "communication",
        /// Encoding and decoding of messages, where they have a stream of their own.
        Codec = "codec",
        /// Weights on their way to the device.
        Weights = "weights",
        /// The process that launches the device's work.
        Host = "host",
    }
);

words!(
    /// What kind of work a span is.
    SpanClass {
        /// Matrix products of projections and feed-forward layers.
        Linear = "linear",
        /// Attention.
        Attention = "attention",
        /// Norms, activations, residual sums, merges.
        Elementwise = "elementwise",
        /// Compressing a message.
        Encode = "encode",
        /// Decompressing a message.
        Decode = "decode",
        /// Launch overhead and gaps that the host causes.
        Launch = "launch",
        /// A message between devices.
        Communication = "communication",
        /// Fetching weights that are not resident.
        Weights = "weights",
        /// Text encoder.
        TextEncoder = "text-encoder",
        /// Variational autoencoder.
        Vae = "vae",
        /// Anything else.
        Other = "other",
    }
);

words!(
    /// Whether a timeline happened or was computed.
    Source {
        /// Computed by the simulator.
        Simulated = "simulated",
        /// Recorded on devices.
        Measured = "measured",
    }
);

/// One piece of work on one stream of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The device; for a message, the sender.
    pub device: DeviceId,
    /// The stream.
    pub stream: Stream,
    /// What kind of work.
    pub class: SpanClass,
    /// Denoising step, from 0.
    pub step: u32,
    /// Layer, from 0.
    pub layer: u32,
    /// When it starts.
    pub start: SimTime,
    /// When it ends.
    pub end: SimTime,
    /// Bytes that a message carries; zero for other work.
    pub bytes: Bytes,
}

impl Span {
    /// How long it lasts.
    #[must_use]
    pub fn duration(&self) -> SimDuration {
        self.end.since(self.start)
    }
}

/// A message: the span that sends it and the span, on another device, that waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    /// Position of the sender's span.
    pub sender: usize,
    /// Position of the receiver's span.
    pub receiver: usize,
}

/// What a link carries over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkUse {
    /// The link.
    pub link: LinkId,
    /// Its name for people.
    pub name: String,
    /// From each moment on, the rate until the next.
    pub samples: Vec<(SimTime, Bandwidth)>,
}

/// What ran where and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    source: Source,
    provenance: String,
    spans: Vec<Span>,
    messages: Vec<Message>,
    links: Vec<LinkUse>,
}

/// Why spans are not a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TimelineError {
    /// A span ends before it starts.
    #[error("span {span} ends at {end_ps} ps, before its start at {start_ps} ps")]
    Backwards {
        /// Position of the span.
        span: usize,
        /// Its start.
        start_ps: u64,
        /// Its end.
        end_ps: u64,
    },
    /// A message names a span that does not exist.
    #[error("message {message} names span {span}, but there are only {spans} spans")]
    NoSuchSpan {
        /// Position of the message.
        message: usize,
        /// The span it names.
        span: usize,
        /// How many spans there are.
        spans: usize,
    },
    /// A message is received before it is sent.
    #[error(
        "message {message}: the receiver's span {receiver} starts before the sender's span {sender} does"
    )]
    ReceivedEarly {
        /// Position of the message.
        message: usize,
        /// The sender's span.
        sender: usize,
        /// The receiver's span.
        receiver: usize,
    },
    /// The samples of a link are not in ascending order of time.
    #[error("sample {sample} of {link} is not later than the one before it")]
    SampleOrder {
        /// The link.
        link: LinkId,
        /// Position of the sample.
        sample: usize,
    },
}

impl Timeline {
    /// A timeline of `spans`; `provenance` says in words where it comes from.
    ///
    /// # Errors
    /// If a span ends before it starts.
    pub fn new(
        source: Source,
        provenance: String,
        spans: Vec<Span>,
    ) -> Result<Self, TimelineError> {
        for (span, Span { start, end, .. }) in spans.iter().enumerate() {
            if end < start {
                let (start_ps, end_ps) = (start.as_ps(), end.as_ps());
                return Err(TimelineError::Backwards {
                    span,
                    start_ps,
                    end_ps,
                });
            }
        }
        let (messages, links) = (Vec::new(), Vec::new());
        Ok(Self {
            source,
            provenance,
            spans,
            messages,
            links,
        })
    }

    /// The same timeline with messages.
    ///
    /// # Errors
    /// If a message names a span that does not exist, or is received before it is sent.
    pub fn with_messages(mut self, messages: Vec<Message>) -> Result<Self, TimelineError> {
        for (message, &Message { sender, receiver }) in messages.iter().enumerate() {
            let spans = self.spans.len();
            if let Some(span) = [sender, receiver].into_iter().find(|&s| s >= spans) {
                return Err(TimelineError::NoSuchSpan {
                    message,
                    span,
                    spans,
                });
            }
            if self.spans[receiver].start < self.spans[sender].start {
                return Err(TimelineError::ReceivedEarly {
                    message,
                    sender,
                    receiver,
                });
            }
        }
        self.messages = messages;
        Ok(self)
    }

    /// The same timeline with what its links carry.
    ///
    /// # Errors
    /// If the samples of a link are not in ascending order of time.
    pub fn with_links(mut self, links: Vec<LinkUse>) -> Result<Self, TimelineError> {
        for LinkUse { link, samples, .. } in &links {
            if let Some(before) = samples.windows(2).position(|pair| pair[1].0 <= pair[0].0) {
                return Err(TimelineError::SampleOrder {
                    link: *link,
                    sample: before + 1,
                });
            }
        }
        self.links = links;
        Ok(self)
    }

    /// Whether it happened or was computed.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// Where it comes from, in words.
    #[must_use]
    pub fn provenance(&self) -> &str {
        &self.provenance
    }

    /// The spans, in the order given.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The messages.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// What the links carry.
    #[must_use]
    pub fn links(&self) -> &[LinkUse] {
        &self.links
    }

    /// When the last span ends; the start of the run where there is none.
    #[must_use]
    pub fn end(&self) -> SimTime {
        let ends = self.spans.iter().map(|span| span.end);
        ends.max().unwrap_or(SimTime::ZERO)
    }
}

#[cfg(test)]
mod tests;

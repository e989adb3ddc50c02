//! What the source asks of a broker: [`super::PulsarSource::connect`] asks a real one through the
//! client crate, a simulation brings another along.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::PulsarError;
pub use super::lane_state::{Message, Original, ParkJob, Position};
use super::trouble::Trouble;
use crate::source::DeliveryId;

/// A broker, as far as one topic and one subscription go.
pub trait Broker: Send + Sync + 'static {
    /// Reads one partition.
    type Consumer: Consumer;

    /// Opens a consumer of a topic or a partition.
    ///
    /// # Errors
    /// [`PulsarError`]; it is tried again.
    fn open_consumer(
        &self,
        topic: &str,
    ) -> impl Future<Output = Result<Self::Consumer, PulsarError>> + Send;

    /// How many partitions the topic has; 0 is a topic without.
    ///
    /// # Errors
    /// [`PulsarError`]; it is asked again.
    fn count_partitions(&self) -> impl Future<Output = Result<u32, PulsarError>> + Send;

    /// Puts what is refused on the dead-letter topic, and tells of each once it is there; until
    /// the sender of jobs is gone and all is done.
    fn park(
        &self,
        jobs: UnboundedReceiver<ParkJob>,
        parked: UnboundedSender<DeliveryId>,
    ) -> impl Future<Output = ()> + Send;

    /// Says what keeps an answer from coming: why it failed, or where it hangs. Takes seconds, no
    /// longer.
    fn explain(&self, error: Option<&PulsarError>) -> impl Future<Output = Trouble> + Send {
        let trouble = error.map_or_else(|| Trouble::no_answer("its address"), Trouble::said);
        std::future::ready(trouble)
    }

    /// Looks once for settings of the topic that lose data, and says so.
    fn advise(&self) -> impl Future<Output = ()> + Send;
}

/// What a consumer has received.
#[derive(Debug)]
pub enum Came {
    /// A message.
    Message(Message),
    /// An entry that cannot be unpacked; the consumer itself is sound.
    Unreadable(PulsarError),
}

/// A consumer of one partition.
pub trait Consumer: Send {
    /// What comes next. Cancel safe.
    ///
    /// # Errors
    /// [`PulsarError`]: the consumer is of no use any more.
    fn next(&mut self) -> impl Future<Output = Result<Came, PulsarError>> + Send;

    /// Acknowledges a whole entry. It may be lost with the connection.
    ///
    /// # Errors
    /// [`PulsarError`]: it was not sent.
    fn ack(&mut self, position: Position) -> impl Future<Output = Result<(), PulsarError>> + Send;

    /// Asks for a whole entry again.
    ///
    /// # Errors
    /// [`PulsarError`]: it was not sent.
    fn nack(&mut self, position: Position) -> impl Future<Output = Result<(), PulsarError>> + Send;

    /// Asks the broker whether it still knows the consumer. The answer follows every
    /// acknowledgement that was sent before.
    ///
    /// # Errors
    /// [`PulsarError::Forgotten`] if it does not.
    fn ask_whether_known(&mut self) -> impl Future<Output = Result<(), PulsarError>> + Send;

    /// Closes it: what is not acknowledged goes to others.
    ///
    /// # Errors
    /// [`PulsarError`]: the broker will notice by itself.
    fn close(&mut self) -> impl Future<Output = Result<(), PulsarError>> + Send;
}

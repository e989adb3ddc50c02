//! A producer that says itself what goes into an entry: a message, or a batch of messages of one
//! key that carries the key, as Pulsar's own client makes it with its key-based batcher. It
//! publishes in order, and again what it has no receipt for: at least once, as ingest services do.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{
    BaseCommand, CommandConnect, CommandLookupTopic, CommandPong, CommandProducer, CommandSend,
    MessageMetadata,
};
use pulsar::message::{Codec, Message, Payload};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::codec::Framed;

use super::oracle::ledger::{Entry, Published};

/// How many entries are on their way at most.
const WINDOW: usize = 64;
/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How soon a connection is tried again.
const PAUSE: Duration = Duration::from_millis(400);

/// What becomes an entry.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// The topic, or the partition.
    pub topic: Arc<str>,
    pub key: String,
    /// The frames, and the message of each.
    pub frames: Vec<(Arc<Published>, Vec<u8>)>,
    /// Also one message is a batch, if it is to be one.
    pub is_batch: bool,
}

/// Publishes what comes until there is no more of it; says which entry each sheet has become.
pub async fn publish(
    port: u16,
    topics: Vec<Arc<str>>,
    mut sheets: mpsc::UnboundedReceiver<Sheet>,
    published: impl Fn(&Sheet, Entry),
) {
    let mut under_way: VecDeque<(u64, u64, Sheet)> = VecDeque::new();
    let mut has_ended = false;
    while !has_ended || !under_way.is_empty() {
        let connected = tokio::time::timeout(PATIENCE, Wire::connect(port, &topics)).await;
        let Ok(Ok(mut wire)) = connected else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let again: Vec<Sheet> = under_way.drain(..).map(|(_, _, sheet)| sheet).collect();
        let mut again = VecDeque::from(again);
        let lost: Result<(), String> = async {
            while !has_ended || !under_way.is_empty() || !again.is_empty() {
                if let Some(sheet) = again.pop_front() {
                    let sent = wire.send(&sheet).await;
                    // Noted first: it may have arrived.
                    let (producer, sequence) = *sent.as_ref().unwrap_or(&(0, 0));
                    under_way.push_back((producer, sequence, sheet));
                    sent?;
                    continue;
                }
                let has_room = under_way.len() < WINDOW && !has_ended;
                tokio::select! {
                    sheet = sheets.recv(), if has_room => match sheet {
                        Some(sheet) => again.push_back(sheet),
                        None => has_ended = true,
                    },
                    receipt = wire.receipt(!under_way.is_empty()) => {
                        let (producer, sequence, entry) = receipt?;
                        let place = under_way
                            .iter()
                            .position(|(p, s, _)| (*p, *s) == (producer, sequence));
                        let (_, _, sheet) = under_way
                            .remove(place.ok_or("a receipt for nothing")?)
                            .ok_or("a receipt for nothing")?;
                        published(&sheet, entry);
                    }
                }
            }
            Ok(())
        }
        .await;
        // What was not sent again comes after what was.
        under_way.extend(again.into_iter().map(|sheet| (0, 0, sheet)));
        if lost.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// One connection.
struct Wire {
    framed: Framed<TcpStream, Codec>,
    /// The number and the name of the producer of each topic.
    producers: HashMap<Arc<str>, (u64, String)>,
    numbers: u64,
}

impl Wire {
    /// One with a producer for each topic: later, their receipts would be in the way.
    async fn connect(port: u16, topics: &[Arc<str>]) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
        let _ = stream.set_nodelay(true);
        let framed = Framed::new(stream, Codec);
        let mut wire = Self { framed, producers: HashMap::new(), numbers: 0 };
        let connect = CommandConnect {
            client_version: "chaos".into(),
            protocol_version: Some(12),
            ..Default::default()
        };
        wire.say(BaseCommand { connect: Some(connect), ..command(Type::Connect) }).await?;
        wire.answer(|answer| answer.connected.is_some().then_some(())).await?;
        for topic in topics {
            wire.open_producer(topic).await?;
        }
        Ok(wire)
    }

    /// The producer of a topic. Asking where the topic is makes the broker serve it.
    async fn open_producer(&mut self, topic: &Arc<str>) -> Result<(), String> {
        self.numbers += 1;
        let (request_id, topic_name) = (self.numbers * 2, topic.to_string());
        let lookup =
            CommandLookupTopic { topic: topic_name.clone(), request_id, ..Default::default() };
        self.say(BaseCommand { lookup_topic: Some(lookup), ..command(Type::Lookup) }).await?;
        self.answer(|answer| answer.lookup_topic_response.map(drop)).await?;
        let (producer_id, request_id) = (self.numbers, request_id + 1);
        let producer =
            CommandProducer { topic: topic_name, producer_id, request_id, ..Default::default() };
        self.say(BaseCommand { producer: Some(producer), ..command(Type::Producer) }).await?;
        let name = self.answer(|answer| Some(answer.producer_success?.producer_name)).await?;
        self.producers.insert(Arc::clone(topic), (producer_id, name));
        Ok(())
    }

    /// Sends an entry; the receipt has the same numbers.
    async fn send(&mut self, sheet: &Sheet) -> Result<(u64, u64), String> {
        let known = self.producers.get(&sheet.topic).ok_or("a topic without a producer")?;
        let (producer_id, producer_name) = known.clone();
        self.numbers += 1;
        let sequence_id = self.numbers;
        let count = i32::try_from(sheet.frames.len()).expect("a small number");
        let data = match sheet.is_batch {
            true => sheet.frames.iter().flat_map(|(_, data)| in_batch(&sheet.key, data)).collect(),
            false => sheet.frames.first().map(|(_, data)| data.clone()).unwrap_or_default(),
        };
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let metadata = MessageMetadata {
            producer_name,
            sequence_id,
            publish_time: u64::try_from(since.map_or(0, |t| t.as_millis())).unwrap_or(0),
            partition_key: Some(sheet.key.clone()),
            num_messages_in_batch: sheet.is_batch.then_some(count),
            ..Default::default()
        };
        let num_messages = sheet.is_batch.then_some(count);
        let send = CommandSend { producer_id, sequence_id, num_messages, ..Default::default() };
        let command = BaseCommand { send: Some(send), ..command(Type::Send) };
        let message = Message { command, payload: Some(Payload { metadata, data }) };
        self.framed.send(message).await.map_err(|e| e.to_string())?;
        Ok((producer_id, sequence_id))
    }

    /// The next receipt, for which the broker has its time if one is due. Cancel safe.
    async fn receipt(&mut self, is_due: bool) -> Result<(u64, u64, Entry), String> {
        let receipt = self.answer(|answer| answer.send_receipt);
        let receipt = match is_due {
            true => tokio::time::timeout(PATIENCE, receipt).await.map_err(|e| e.to_string())??,
            false => receipt.await?,
        };
        let id = receipt.message_id.ok_or("a receipt without an id")?;
        let number = |id| i64::try_from(id).map_err(|_| "an entry's number");
        let entry = (number(id.ledger_id)?, number(id.entry_id)?);
        Ok((receipt.producer_id, receipt.sequence_id, entry))
    }

    async fn say(&mut self, command: BaseCommand) -> Result<(), String> {
        let message = Message { command, payload: None };
        self.framed.send(message).await.map_err(|e| e.to_string())
    }

    /// Waits for an answer, and says that it is there when it is asked.
    async fn answer<T>(&mut self, wanted: impl Fn(BaseCommand) -> Option<T>) -> Result<T, String> {
        loop {
            let next = self.framed.next().await.ok_or("the connection has ended")?;
            let said = next.map_err(|e| e.to_string())?.command;
            if said.ping.is_some() {
                let pong = BaseCommand { pong: Some(CommandPong {}), ..command(Type::Pong) };
                self.say(pong).await?;
            } else if said.error.is_some()
                || said.send_error.is_some()
                || said.close_producer.is_some()
            {
                return Err("the broker gives the producer up".into());
            } else if let Some(answer) = wanted(said) {
                return Ok(answer);
            }
        }
    }
}

fn command(kind: Type) -> BaseCommand {
    BaseCommand { r#type: kind as i32, ..Default::default() }
}

/// A message as a part of a batch: the size of its metadata, these (`SingleMessageMetadata` of
/// Pulsar's protocol: the key is field 2, the payload's size is field 3), and the payload.
fn in_batch(key: &str, payload: &[u8]) -> Vec<u8> {
    let mut metadata = vec![2 << 3 | 2];
    varint(&mut metadata, key.len());
    metadata.extend_from_slice(key.as_bytes());
    metadata.push(3 << 3);
    varint(&mut metadata, payload.len());
    let size = u32::try_from(metadata.len()).expect("a small number");
    [&size.to_be_bytes()[..], &metadata, payload].concat()
}

fn varint(to: &mut Vec<u8>, mut value: usize) {
    let seven_bits = |value: usize| u8::try_from(value & 0x7f).unwrap();
    while value >= 0x80 {
        to.push(seven_bits(value) | 0x80);
        value >>= 7;
    }
    to.push(seven_bits(value));
}

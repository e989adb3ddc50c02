//! The Pulsar source against a real broker: what is delivered, what the broker then counts.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

#[path = "support/broker.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the rig")]
mod broker;
#[path = "support/taking.rs"]
mod taking;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use broker::Broker;
use pulsar::producer::Message;
use stream_processor::model::Secret;
use stream_processor::source::pulsar::{PulsarAdmin, PulsarAuth, PulsarSource};
use stream_processor::source::{FrameSource, Settlement};
use taking::{
    SUBSCRIPTION, Taken, dead_letters, no_more, open, refusal, settings, take, take_exactly,
    try_open,
};

fn numbered(key: &'static str, numbers: std::ops::Range<u32>) -> Vec<(&'static str, String)> {
    numbers.map(|number| (key, format!("{key}{number}"))).collect()
}

fn texts(taken: &[Taken]) -> Vec<&str> {
    taken.iter().map(|taken| taken.text.as_str()).collect()
}

#[tokio::test]
async fn oldest_messages_come_first_and_are_acked_only_when_done() {
    let broker = Broker::shared().await;
    let topic = broker.topic("plain");
    broker.publisher(&topic).await.publish(numbered("a", 0..5)).await;
    broker.batching_publisher(&topic, 3).await.publish(numbered("b", 0..6)).await;

    let mut source = open(&settings(broker, &topic)).await;
    let taken = take(&mut source, 11).await;
    let want: Vec<_> = numbered("a", 0..5).into_iter().chain(numbered("b", 0..6)).collect();
    assert_eq!(texts(&taken), want.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>());

    // The broker's backlog counts entries, but what is with consumers it counts in messages.
    let settler = source.settler();
    for done in taken.iter().filter(|taken| taken.text != "a4" && taken.text != "b5") {
        settler.settle(Settlement::Done(done.id));
    }
    let counters = broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 2).await;
    assert_eq!(counters.unacked, 4, "one message, and a batch of three");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(broker.counters(&topic, SUBSCRIPTION).await.backlog, 2);
    for done in taken.iter().filter(|taken| taken.text == "a4" || taken.text == "b5") {
        settler.settle(Settlement::Done(done.id));
    }
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0 && c.unacked == 0).await;
    Box::new(source).close().await;
    assert_eq!(broker.counters(&topic, SUBSCRIPTION).await.consumers, 0);
}

#[tokio::test]
async fn every_partition_is_read_and_added_ones_are_found() {
    let broker = Broker::shared().await;
    let topic = broker.topic("partitioned");
    broker.create_partitioned(&topic, 2).await;
    let mut source = open(&settings(broker, &topic)).await;
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let round = |round: u32| keys.map(|key| (key, format!("{key}{round}")));
    broker.publisher(&topic).await.publish(round(1)).await;
    let first = take(&mut source, keys.len()).await;
    assert_eq!(source.health().lanes, 2);
    broker.set_partitions(&topic, 4).await;
    broker.publisher(&topic).await.publish(round(2)).await;
    let second = take(&mut source, keys.len()).await;
    assert_eq!(source.health().lanes, 4);
    let lanes: BTreeSet<_> = second.iter().map(|taken| taken.id.lane).collect();
    assert!(lanes.iter().any(|lane| *lane >= 2), "{lanes:?}");
    for taken in first.iter().chain(&second) {
        source.settler().settle(Settlement::Done(taken.id));
    }
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    assert!(source.health().is_ready());
    Box::new(source).close().await;
}

#[tokio::test]
async fn topic_that_is_created_later_with_partitions_is_found() {
    let broker = Broker::shared().await;
    let plain = broker.topic("late");
    let name = plain.rsplit('/').next().expect("a name");
    let namespace = format!("namespaces/public/{name}");
    broker.admin("PUT", &namespace, serde_json::Value::Null).await;
    let no_creation = serde_json::json!({"allowAutoTopicCreation": false});
    broker.admin("POST", &format!("{namespace}/autoTopicCreation"), no_creation).await;
    let topic = format!("persistent://public/{name}/frames");
    let settings = settings(broker, &topic);
    let mut source = PulsarSource::connect(settings).await.expect("good settings");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!source.health().is_ready());
    broker.create_partitioned(&topic, 2).await;
    taking::wait_until(|| source.health().is_ready() && source.health().lanes == 2).await;
    let keys = ["a", "b", "c", "d", "e", "f"];
    broker.publisher(&topic).await.publish(keys.map(|key| (key, key.to_owned()))).await;
    let taken = take_exactly(&mut source, keys.len()).await;
    for taken in &taken {
        source.settler().settle(Settlement::Done(taken.id));
    }
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    Box::new(source).close().await;
}

#[tokio::test]
async fn redelivered_come_again_in_order_and_before_what_follows() {
    let broker = Broker::shared().await;
    let topic = broker.topic("redeliver");
    broker.publisher(&topic).await.publish(numbered("a", 0..200)).await;
    let mut source = open(&settings(broker, &topic)).await;
    let taken = take(&mut source, 10).await;
    let again: Vec<_> = taken[4..].iter().map(|taken| taken.id).collect();
    source.settler().settle(Settlement::Redeliver(again));
    let rest = take_exactly(&mut source, 196).await;
    // What was handed over already comes first; from then on everything is in order.
    let back = rest.iter().position(|taken| taken.text == "a4").expect("a4 comes again");
    let numbers: Vec<u32> =
        rest.iter().map(|taken| taken.text[1..].parse().expect("a number")).collect();
    assert!(back > 0 && numbers[..back].is_sorted(), "{numbers:?}");
    assert!(numbers[back..].is_sorted(), "{numbers:?}");
    let all: BTreeSet<_> = texts(&taken[..4]).into_iter().chain(texts(&rest)).collect();
    assert_eq!(all.len(), 200, "each once");
    for taken in taken[..4].iter().chain(&rest) {
        source.settler().settle(Settlement::Done(taken.id));
    }
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    Box::new(source).close().await;
}

#[tokio::test]
async fn parked_message_of_a_batch_is_kept_with_its_reason_and_the_batch_is_then_acked() {
    let broker = Broker::shared().await;
    let topic = broker.topic("batch-park");
    broker.batching_publisher(&topic, 4).await.publish(numbered("a", 0..4)).await;
    let settings = settings(broker, &topic);
    let mut source = open(&settings).await;
    let taken = take(&mut source, 4).await;
    let settler = source.settler();
    settler.settle(Settlement::Done(taken[0].id));
    settler.settle(Settlement::Park(taken[1].id, refusal("frame_path")));
    settler.settle(Settlement::Redeliver(vec![taken[2].id]));
    let again = take(&mut source, 1).await;
    assert_eq!(texts(&again), ["a2"]);
    no_more(&mut source).await;
    let letters = dead_letters(broker, &settings, 1).await;
    assert_eq!(letters[0].payload, b"a1");
    assert_eq!(letters[0].key.as_deref(), Some("a"));
    let properties = &letters[0].properties;
    assert_eq!(properties["camera"], "a");
    assert_eq!(properties["dead_letter.reason"], "frame_path");
    assert_eq!(properties["dead_letter.detail"], "the test refuses it");
    assert_eq!(properties["dead_letter.origin_topic"], topic);
    assert!(properties["dead_letter.origin_message_id"].ends_with(":1"));
    assert!(properties["dead_letter.origin_publish_time_millis"].parse::<u64>().is_ok());
    settler.settle(Settlement::Done(again[0].id));
    assert_eq!(broker.counters(&topic, SUBSCRIPTION).await.backlog, 1);
    settler.settle(Settlement::Done(taken[3].id));
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    Box::new(source).close().await;
}

#[tokio::test]
async fn rest_goes_on_while_the_dead_letter_topic_takes_nothing() {
    let broker = Broker::shared().await;
    let topic = broker.topic("dlq-away");
    let settings = settings(broker, &topic);
    let letters_to = settings.dead_letter_topic();
    broker.publisher(&letters_to).await.publish(numbered("x", 0..1)).await;
    broker.terminate(&letters_to).await;
    broker.publisher(&topic).await.publish(numbered("a", 0..6)).await;
    let mut source = open(&settings).await;
    let taken = take(&mut source, 6).await;
    let settler = source.settler();
    settler.settle(Settlement::Park(taken[0].id, refusal("first")));
    for taken in &taken[1..] {
        settler.settle(Settlement::Done(taken.id));
    }
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(broker.counters(&topic, SUBSCRIPTION).await.backlog, 1, "not acked unparked");
    broker.delete(&letters_to).await;
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    let letters = dead_letters(broker, &settings, 1).await;
    assert_eq!(letters[0].payload, b"a0");
    assert!(source.health().is_ready());
    Box::new(source).close().await;
}

#[tokio::test]
async fn message_too_large_for_the_dead_letter_topic_is_parked_in_part() {
    let broker = Broker::shared().await;
    let topic = broker.topic("large");
    let bytes = 10 * 1024 * 1024;
    let large = Message { payload: vec![b'x'; bytes], ..Message::default() };
    broker.compressing_publisher(&topic).await.publish_messages([large]).await;
    let settings = settings(broker, &topic);
    let mut source = open(&settings).await;
    let taken = take(&mut source, 1).await;
    assert_eq!(taken[0].text.len(), bytes);
    source.settler().settle(Settlement::Park(taken[0].id, refusal("message_json")));
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    let letters = dead_letters(broker, &settings, 1).await;
    assert_eq!(letters[0].properties["dead_letter.origin_payload_bytes"], bytes.to_string());
    assert!(letters[0].payload.len() > 4 * 1024 * 1024, "{}", letters[0].payload.len());
    Box::new(source).close().await;
}

#[tokio::test]
async fn slow_taker_gets_everything_once_and_each_key_in_order() {
    let broker = Broker::shared().await;
    let topic = broker.topic("slow");
    let keys = ["a", "b", "c", "d", "e"];
    let all: Vec<_> =
        (0..600).map(|number| (keys[number % keys.len()], format!("{number:04}"))).collect();
    broker.publisher(&topic).await.publish(all.clone()).await;
    let mut settings = settings(broker, &topic);
    settings.limits.lane_messages = 20;
    let mut source = open(&settings).await;
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.unacked == 600).await;
    let taken = take(&mut source, 600).await;
    for key in keys {
        let of_key: Vec<_> = all.iter().filter(|(k, _)| *k == key).map(|(_, t)| t).collect();
        let got: Vec<_> =
            taken.iter().map(|t| &t.text).filter(|text| of_key.contains(text)).collect();
        assert_eq!(got, of_key, "key {key}");
    }
    for taken in &taken {
        source.settler().settle(Settlement::Done(taken.id));
    }
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    Box::new(source).close().await;
}

#[tokio::test]
async fn two_workers_split_the_keys_and_the_one_that_closes_gives_its_rest_back() {
    let broker = Broker::shared().await;
    let topic = broker.topic("two");
    let first_settings = settings(broker, &topic);
    let mut second_settings = first_settings.clone();
    second_settings.consumer_name = "worker-2".into();
    let mut first = open(&first_settings).await;
    let mut second = open(&second_settings).await;
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.consumers == 2).await;
    let names: Vec<String> = (0..40).map(|number| format!("camera-{number}")).collect();
    let all: Vec<_> = (0..120)
        .map(|number| (names[number % 40].as_str(), format!("{} {number:03}", names[number % 40])))
        .collect();
    broker.publisher(&topic).await.publish(all).await;
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.unacked == 120).await;
    let (mine, yours) = (taking::take_all(&mut first).await, taking::take_all(&mut second).await);
    assert_eq!(mine.len() + yours.len(), 120);
    let keys = |taken: &[Taken]| -> BTreeMap<String, usize> {
        let mut keys = BTreeMap::new();
        for taken in taken {
            let key = taken.text.split(' ').next().unwrap_or_default();
            *keys.entry(key.to_owned()).or_default() += 1;
        }
        keys
    };
    let (my_keys, your_keys) = (keys(&mine), keys(&yours));
    assert!(!my_keys.is_empty() && !your_keys.is_empty(), "{my_keys:?} {your_keys:?}");
    assert!(my_keys.keys().all(|key| !your_keys.contains_key(key)), "a key at both");
    // Half of the first one's are settled in the very moment of closing.
    let (done, back) = mine.split_at(mine.len() / 2);
    for taken in done {
        first.settler().settle(Settlement::Done(taken.id));
    }
    let started = Instant::now();
    Box::new(first).close().await;
    let moved = take(&mut second, back.len()).await;
    let millis = started.elapsed().as_millis();
    assert_eq!(
        texts(&moved).into_iter().collect::<BTreeSet<_>>(),
        texts(back).into_iter().collect::<BTreeSet<_>>()
    );
    println!("given back and taken over in {millis} ms");
    no_more(&mut second).await;
    for taken in yours.iter().chain(&moved) {
        second.settler().settle(Settlement::Done(taken.id));
    }
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    Box::new(second).close().await;
}

#[tokio::test]
async fn rewound_subscription_delivers_again_what_was_acked() {
    let broker = Broker::shared().await;
    let topic = broker.topic("rewind");
    broker.publisher(&topic).await.publish(numbered("a", 0..5)).await;
    let mut source = open(&settings(broker, &topic)).await;
    for taken in take(&mut source, 5).await {
        source.settler().settle(Settlement::Done(taken.id));
    }
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    Box::new(source).close().await;
    broker.rewind(&topic, SUBSCRIPTION, 3_600_000).await;
    let mut source = open(&settings(broker, &topic)).await;
    assert_eq!(texts(&take(&mut source, 5).await), ["a0", "a1", "a2", "a3", "a4"]);
    Box::new(source).close().await;
}

#[tokio::test]
async fn admin_tells_the_backlog_and_warns_of_settings_that_lose_data() {
    let broker = Broker::shared().await;
    let plain = broker.topic("advice");
    let name = plain.rsplit('/').next().expect("a name");
    broker.admin("PUT", &format!("namespaces/public/{name}"), serde_json::Value::Null).await;
    let topic = format!("persistent://public/{name}/frames");
    let settings = settings(broker, &topic);
    let admin = PulsarAdmin::new(&settings).await.unwrap().expect("an admin URL is set");
    assert_eq!(admin.warnings().await.expect("an answer"), Vec::<String>::new());
    let namespace = format!("namespaces/public/{name}");
    broker.admin("POST", &format!("{namespace}/messageTTL"), 60.into()).await;
    broker.admin("POST", &format!("{namespace}/subscriptionExpirationTime"), 7.into()).await;
    let quota = serde_json::json!({"limitSize": 1_000_000, "policy": "consumer_backlog_eviction"});
    broker.admin("POST", &format!("{namespace}/backlogQuota"), quota).await;
    let warnings = admin.warnings().await.expect("an answer").join("\n");
    for word in ["60 s", "consumer_backlog_eviction", "7 min"] {
        assert!(warnings.contains(word), "{word}: {warnings}");
    }
    broker.create_partitioned(&topic, 2).await;
    broker.create_subscription(&topic, SUBSCRIPTION).await;
    broker.publisher(&topic).await.publish(numbered("a", 0..3)).await;
    let backlog = admin.backlog().await.expect("an answer");
    assert_eq!((backlog.entries, backlog.unacked_messages), (3, 0));
    let oldest = backlog.oldest_published_at.expect("a time");
    assert!(oldest.0 > 1_700_000_000_000, "{oldest}");
}

#[tokio::test]
async fn files_that_cannot_be_read_are_named_at_once() {
    let broker_url = "pulsar://127.0.0.1:1";
    let mut settings = stream_processor::source::pulsar::PulsarSettings::new(
        broker_url,
        "persistent://a/b/c",
        "s",
        "w",
    );
    settings.tls.trust_certs_file = Some("/nowhere/ca.pem".into());
    let Err(error) = PulsarSource::connect(settings).await else { panic!("it has no such file") };
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

#[tokio::test]
async fn broker_is_trusted_by_its_authority_and_worker_by_its_token() {
    let broker = Broker::shared().await;
    let topic = broker.topic("secure");
    broker.publisher(&topic).await.publish(numbered("a", 0..1)).await;
    let token_file = broker.folder.join("token");
    let mut good = settings(broker, &topic);
    good.service_url.clone_from(&broker.tls_url);
    good.tls.trust_certs_file = Some(broker.folder.join("ca.pem"));
    good.auth = PulsarAuth::TokenFile(token_file.clone());

    let mut untrusted = good.clone();
    untrusted.tls.trust_certs_file = None;
    assert!(try_open(&untrusted).await.is_none(), "anybody may have made that certificate");
    let mut misnamed = good.clone();
    misnamed.service_url = broker.tls_url.replace("127.0.0.1", "localhost");
    assert!(try_open(&misnamed).await.is_none(), "the certificate is for another host");
    let mut unknown = good.clone();
    unknown.auth = PulsarAuth::Token(Secret::new("no.such.token"));
    assert!(try_open(&unknown).await.is_none(), "the broker takes no such token");

    let mut source = open(&good).await;
    let taken = take(&mut source, 1).await;
    // The dead-letter topic is reached the same way.
    source.settler().settle(Settlement::Park(taken[0].id, refusal("secure")));
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    Box::new(source).close().await;
    let token = std::fs::read_to_string(token_file).expect("the token");
    good.auth = PulsarAuth::Token(Secret::new(token.trim()));
    Box::new(open(&good).await).close().await;
}

#[tokio::test]
async fn cuts_unloads_a_frozen_and_a_crashed_broker_lose_and_repeat_nothing() {
    let broker = Broker::own("crash").await;
    let topic = broker.topic("trouble");
    let mut impatient = settings(&broker, &topic);
    impatient.timings.operation_timeout = Duration::from_secs(1);
    let mut source = open(&impatient).await;
    let mut held = Vec::new();
    for (round, trouble) in ["none", "cut", "unload", "freeze", "crash"].into_iter().enumerate() {
        match trouble {
            "freeze" => {
                broker.freeze().await;
                taking::wait_until(|| source.health().lanes_connected == 0).await;
                broker.thaw().await;
            }
            "cut" => taking::cut_connections(broker.port),
            "unload" => broker.unload(&topic).await,
            "crash" => {
                broker.crash().await;
                // Settled while there is no broker: acknowledged once it is back.
                for taken in held.drain(..5) {
                    let taken: Taken = taken;
                    source.settler().settle(Settlement::Done(taken.id));
                }
                broker.resume().await;
            }
            _ => {}
        }
        let key = ["p", "q", "r", "s", "t"][round];
        broker.publisher(&topic).await.publish(numbered(key, 0..5)).await;
        let new = take(&mut source, 5).await;
        let want: Vec<_> = numbered(key, 0..5).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts(&new), want, "after {trouble}: only what is new");
        held.extend(new);
        broker
            .wait_for(&topic, SUBSCRIPTION, |c| usize::try_from(c.unacked) == Ok(held.len()))
            .await;
    }
    assert!(source.health().rebuilds >= 1, "{:?}", source.health());
    no_more(&mut source).await;
    for taken in &held {
        source.settler().settle(Settlement::Done(taken.id));
    }
    broker.wait_for(&topic, SUBSCRIPTION, |c| c.backlog == 0).await;
    assert!(source.health().is_ready());
    Box::new(source).close().await;
    broker.stop().await;
}

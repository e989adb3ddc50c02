//! What every object store has to do, whichever it is.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutResult, Result, UpdateVersion,
};

/// How many try at once where one may win.
const RIVALS: usize = 8;
/// How often they try.
const ROUNDS: usize = 50;

/// A bucket of its own for a test.
pub struct Bucket {
    store: Box<dyn ObjectStore>,
    pages: Box<dyn PaginatedListStore>,
}

/// What the clients of all stores are.
pub trait AnyStore: ObjectStore + PaginatedListStore + Clone {}

impl<S: ObjectStore + PaginatedListStore + Clone> AnyStore for S {}

impl Bucket {
    pub fn new(store: impl AnyStore) -> Self {
        Self { store: Box::new(store.clone()), pages: Box::new(store) }
    }

    async fn put(&self, name: &str, content: &str, mode: PutMode) -> Result<PutResult> {
        self.store.put_opts(&at(name), content.to_owned().into(), PutOptions::from(mode)).await
    }

    async fn content(&self, name: &str) -> Bytes {
        self.store.get(&at(name)).await.expect("the object").bytes().await.expect("its content")
    }

    async fn names(&self) -> BTreeSet<String> {
        let listed = self.store.list(None).map_ok(|object| object.location.to_string());
        listed.try_collect().await.expect("a listing")
    }
}

fn at(name: &str) -> Path {
    Path::parse(name).expect("a name")
}

fn version(put: PutResult) -> UpdateVersion {
    put.into()
}

pub async fn gives_back_what_it_was_given(bucket: Bucket) {
    let segment: Bytes = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    bucket.store.put(&at("a/segment.ts"), segment.clone().into()).await.expect("a put");
    assert_eq!(bucket.content("a/segment.ts").await, segment);
    let empty = bucket.put("a/empty", "", PutMode::Overwrite).await;
    empty.expect("a put");
    assert_eq!(bucket.content("a/empty").await, "");
}

pub async fn refuses_to_create_an_object_that_exists(bucket: Bucket) {
    bucket.put("state", "first", PutMode::Create).await.expect("a put");
    let second = bucket.put("state", "second", PutMode::Create).await;
    assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
    assert_eq!(bucket.content("state").await, "first");
    bucket.store.delete(&at("state")).await.expect("a delete");
    bucket.put("state", "third", PutMode::Create).await.expect("it may be created again");
}

pub async fn lets_one_of_many_creators_win(bucket: Bucket) {
    for round in 0..ROUNDS {
        let name = format!("state-{round}");
        let creators = (0..RIVALS).map(|_| bucket.put(&name, "mine", PutMode::Create));
        let results = join_all(creators).await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "{results:?}");
        let lost = |result: &&_| matches!(result, Err(Error::AlreadyExists { .. }));
        assert_eq!(results.iter().filter(lost).count(), RIVALS - 1, "{results:?}");
    }
}

pub async fn replaces_only_the_version_it_was_told(bucket: Bucket) {
    let first = bucket.put("state", "first", PutMode::Create).await.expect("a put");
    let first = version(first);
    let second = bucket.put("state", "second", PutMode::Update(first.clone())).await;
    let second = version(second.expect("an update of what is there"));
    let stale = bucket.put("state", "third", PutMode::Update(first)).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
    assert_eq!(bucket.content("state").await, "second");
    bucket.store.delete(&at("state")).await.expect("a delete");
    let gone = bucket.put("state", "fourth", PutMode::Update(second)).await;
    assert!(matches!(gone, Err(Error::Precondition { .. })), "{gone:?}");
    assert!(bucket.names().await.is_empty());
}

pub async fn lets_one_of_many_updaters_win(bucket: Bucket) {
    let mut known = version(bucket.put("state", "first", PutMode::Create).await.expect("a put"));
    for round in 0..ROUNDS {
        // What is the same again may have the same version again.
        let contents: Vec<_> = (0..RIVALS).map(|rival| format!("{round} by {rival}")).collect();
        let mode = || PutMode::Update(known.clone());
        let updaters = contents.iter().map(|text| bucket.put("state", text, mode()));
        let results = join_all(updaters).await;
        let won: Vec<_> = (0..RIVALS).filter(|rival| results[*rival].is_ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        let lost = |result: &&_| matches!(result, Err(Error::Precondition { .. }));
        assert_eq!(results.iter().filter(lost).count(), RIVALS - 1, "{results:?}");
        assert_eq!(bucket.content("state").await, contents[won[0]]);
        known = version(results.into_iter().flatten().next().expect("the winner's"));
    }
}

pub async fn tells_contents_apart_by_their_etag(bucket: Bucket) {
    let first = bucket.put("a/state", "first", PutMode::Overwrite).await.expect("a put");
    let second = bucket.put("a/state", "second", PutMode::Overwrite).await.expect("a put");
    assert_ne!(first.e_tag, second.e_tag);
    assert!(second.e_tag.is_some());
    let head = bucket.store.head(&at("a/state")).await.expect("the object");
    assert_eq!((&head.e_tag, head.size), (&second.e_tag, 6));
    let read = bucket.store.get(&at("a/state")).await.expect("the object");
    assert_eq!(read.meta.e_tag, second.e_tag);
    let listed: Vec<_> = bucket.store.list(None).try_collect().await.expect("a listing");
    // Azure lists it without quotes: what is listed is no version to update.
    let unquoted = |e_tag: &Option<String>| e_tag.as_ref().map(|e_tag| e_tag.replace('"', ""));
    assert_eq!((unquoted(&listed[0].e_tag), listed[0].size), (unquoted(&second.e_tag), 6));
    assert_eq!(head.last_modified.timestamp(), listed[0].last_modified.timestamp());
}

pub async fn reads_only_what_has_changed(bucket: Bucket) {
    let first = bucket.put("state", "first", PutMode::Overwrite).await.expect("a put").e_tag;
    let unless = GetOptions { if_none_match: first.clone(), ..GetOptions::default() };
    let same = bucket.store.get_opts(&at("state"), unless.clone()).await;
    assert!(matches!(same, Err(Error::NotModified { .. })), "{same:?}");
    bucket.put("state", "second", PutMode::Overwrite).await.expect("a put");
    let changed = bucket.store.get_opts(&at("state"), unless).await.expect("the new object");
    assert_eq!(changed.bytes().await.expect("its content"), "second");
    let only_if = GetOptions { if_match: first, ..GetOptions::default() };
    let stale = bucket.store.get_opts(&at("state"), only_if).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
}

pub async fn reads_ranges(bucket: Bucket) {
    bucket.put("digits", "0123456789", PutMode::Overwrite).await.expect("a put");
    let digits = at("digits");
    assert_eq!(bucket.store.get_range(&digits, 2..5).await.expect("a range"), "234");
    assert_eq!(bucket.store.get_range(&digits, 7..20).await.expect("a range"), "789");
    for (range, expected) in [(GetRange::Offset(6), "6789"), (GetRange::Suffix(3), "789")] {
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let read = bucket.store.get_opts(&digits, options).await;
        match read {
            Ok(read) => assert_eq!(read.bytes().await.expect("its content"), expected),
            // Azure has no suffix ranges, and the client says so.
            Err(Error::NotSupported { .. }) => assert_eq!(expected, "789"),
            Err(error) => panic!("{error}"),
        }
    }
    let beyond = bucket.store.get_range(&digits, 10..12).await;
    assert!(beyond.is_err(), "{beyond:?}");
}

pub async fn copies_on_the_server(bucket: Bucket) {
    bucket.put("from", "content", PutMode::Overwrite).await.expect("a put");
    bucket.put("to", "other", PutMode::Overwrite).await.expect("a put");
    bucket.store.copy(&at("from"), &at("to")).await.expect("a copy");
    assert_eq!(bucket.content("to").await, "content");
    assert_eq!(bucket.content("from").await, "content");
    let missing = bucket.store.copy(&at("nothing"), &at("to")).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

pub async fn refuses_to_copy_onto_an_object(bucket: Bucket) {
    bucket.put("from", "content", PutMode::Overwrite).await.expect("a put");
    let create = || CopyOptions::new().with_mode(CopyMode::Create);
    bucket.store.copy_opts(&at("from"), &at("to"), create()).await.expect("a copy");
    bucket.put("from", "changed", PutMode::Overwrite).await.expect("a put");
    let second = bucket.store.copy_opts(&at("from"), &at("to"), create()).await;
    assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
    assert_eq!(bucket.content("to").await, "content");
}

pub async fn lists_folders_and_objects(bucket: Bucket) {
    for name in ["a/1", "a/b/2", "a/b/3", "a/c/4", "ab/5", "6"] {
        bucket.put(name, "content", PutMode::Overwrite).await.expect("a put");
    }
    let found = bucket.store.list_with_delimiter(Some(&at("a"))).await.expect("a listing");
    let objects: Vec<_> = found.objects.iter().map(|object| object.location.as_ref()).collect();
    let folders: Vec<_> = found.common_prefixes.iter().map(AsRef::as_ref).collect();
    assert_eq!((objects, folders), (vec!["a/1"], vec!["a/b", "a/c"]));
    let all: Vec<_> = bucket.store.list(Some(&at("a"))).try_collect().await.expect("a listing");
    let all: Vec<_> = all.iter().map(|object| object.location.as_ref()).collect();
    assert_eq!(all, ["a/1", "a/b/2", "a/b/3", "a/c/4"]);
}

pub async fn lists_page_by_page(bucket: Bucket) {
    for name in ["a/1", "a/2", "a/b/3", "a/b/4", "a/c/5", "a/d"] {
        bucket.put(name, "content", PutMode::Overwrite).await.expect("a put");
    }
    let (mut pages, mut found, mut page_token) = (0, Vec::new(), None);
    loop {
        let options = PaginatedListOptions {
            delimiter: Some("/".into()),
            max_keys: Some(2),
            page_token,
            ..PaginatedListOptions::default()
        };
        let page = bucket.pages.list_paginated(Some("a/"), options).await.expect("a page");
        let objects = page.result.objects.into_iter().map(|object| object.location);
        let names: Vec<_> = objects.chain(page.result.common_prefixes).collect();
        assert!(names.len() <= 2, "{names:?}");
        pages += 1;
        found.extend(names.iter().map(ToString::to_string));
        page_token = page.page_token;
        if page_token.is_none() {
            break;
        }
    }
    found.sort_unstable();
    assert_eq!(found, ["a/1", "a/2", "a/b", "a/c", "a/d"]);
    assert!(pages >= 3, "{pages}");
}

pub async fn lists_from_an_offset(bucket: Bucket) {
    for name in ["a/1", "a/2", "a/3", "b/4"] {
        bucket.put(name, "content", PutMode::Overwrite).await.expect("a put");
    }
    let listed = bucket.store.list_with_offset(Some(&at("a")), &at("a/1"));
    let listed = listed.map_ok(|object| object.location.to_string());
    assert_eq!(listed.try_collect::<Vec<_>>().await.expect("a listing"), ["a/2", "a/3"]);
}

pub async fn keeps_names_as_they_are(bucket: Bucket) {
    let names = ["a b", "a+b", "a%20b", "a&b=c?d#e", "Straße/ü 時", "a'b\"c<d>", "a:b@c,d;e~"];
    for name in names {
        bucket.put(name, name, PutMode::Create).await.expect(name);
    }
    assert_eq!(bucket.names().await, names.map(str::to_owned).into());
    for name in names {
        assert_eq!(bucket.content(name).await, name);
        bucket.store.copy(&at(name), &at("copy")).await.expect(name);
        assert_eq!(bucket.content("copy").await, name);
    }
}

pub async fn deletes_one_and_many(bucket: Bucket) {
    let names = ["a/1", "a/2", "a/3", "b"];
    for name in names {
        bucket.put(name, "content", PutMode::Overwrite).await.expect("a put");
    }
    bucket.store.delete(&at("b")).await.expect("a delete");
    assert_eq!(bucket.names().await, ["a/1", "a/2", "a/3"].map(str::to_owned).into());
    let doomed = stream::iter(["a/1", "a/2"]).map(|name| Ok(at(name))).boxed();
    let deleted: Vec<_> = bucket.store.delete_stream(doomed).try_collect().await.expect("deletes");
    assert_eq!(deleted.len(), 2);
    assert_eq!(bucket.names().await, ["a/3".to_owned()].into());
}

pub async fn says_that_an_object_is_missing(bucket: Bucket) {
    let read = bucket.store.get(&at("nothing")).await;
    assert!(matches!(read, Err(Error::NotFound { .. })), "{read:?}");
    let head = bucket.store.head(&at("nothing")).await;
    assert!(matches!(head, Err(Error::NotFound { .. })), "{head:?}");
    assert!(bucket.names().await.is_empty());
}

/// Of a client of a bucket that is not there.
pub async fn says_that_the_bucket_is_missing(client: Result<impl AnyStore>) {
    let bucket = Bucket::new(client.expect("a client"));
    let put = bucket.put("state", "content", PutMode::Create).await;
    assert!(matches!(put, Err(Error::NotFound { .. })), "{put:?}");
    let read = bucket.store.get(&at("state")).await;
    assert!(matches!(read, Err(Error::NotFound { .. })), "{read:?}");
    let listed: Result<Vec<_>> = bucket.store.list(None).try_collect().await;
    assert!(listed.is_err(), "{listed:?}");
}

/// Of a client whose credentials are not the server's.
pub async fn refuses_the_credentials(client: Result<impl AnyStore>) {
    let bucket = Bucket::new(client.expect("a client"));
    let put = bucket.put("state", "content", PutMode::Overwrite).await;
    let refused = |error: &Error| {
        matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
    };
    assert!(put.as_ref().is_err_and(refused), "{put:?}");
    let read = bucket.store.get(&at("state")).await;
    assert!(read.as_ref().is_err_and(refused), "{read:?}");
}

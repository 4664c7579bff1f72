//! Objects that come in pieces, through many processes: each piece here resumes from what the one before has kept.

use bytes::Bytes;
use firmament::{
    bucket::{Kept, PART_SIZE, SCRATCH, Unsealed},
    error::{Kind, Result},
};
use uuid::Uuid;

use super::store::{Store, content, digests};

/// Sends these pieces, and completes.
async fn send(store: &Store, bytes: &[u8], ends: &[usize]) -> Result<Unsealed> {
    let (id, key, facts) = (Uuid::now_v7(), store.key("a.bin"), store.facts("a.bin"));
    let (mut kept, mut at) = (Kept::default(), 0);
    for end in ends {
        let mut upload = store.bucket.resume(id, &key, &facts, &kept).await?;
        for piece in bytes[at..*end].chunks(300_007) {
            upload.write(Bytes::copy_from_slice(piece)).await?;
        }
        at = *end;
        if at == bytes.len() {
            let unsealed = upload.complete(&|| Ok(())).await?;
            store.bucket.remove_scratch(id).await?;
            assert_eq!(scratch(store, id).await, 0);
            return Ok(unsealed);
        }
        let now = upload.park().await?;
        assert_eq!(now.received, at as u64);
        upload.forget(&kept, &now).await;
        assert!(scratch(store, id).await <= 1);
        kept = now;
        assert_eq!(store.bucket.head(key.as_str()).await?, None, "visible before its end");
    }
    panic!("the last end is that of the bytes")
}

async fn scratch(store: &Store, id: Uuid) -> usize {
    let prefix = format!("{SCRATCH}{id}/");
    let listed = store.bucket.list(Some(&prefix)).await.expect("listed");
    listed.iter().filter(|object| object.key.starts_with(&prefix)).count()
}

async fn comes_in_pieces(store: &Store) {
    let size = PART_SIZE * 5 / 2;
    for ends in [
        &[size][..],
        &[1, 2, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE, size - 1, size],
        &[PART_SIZE],
        &[10, PART_SIZE],
        &[0, 70_000],
        &[PART_SIZE, 2 * PART_SIZE],
    ] {
        let (bytes, key) = (content(*ends.last().expect("there are ends")), store.key("a.bin"));
        let unsealed = send(store, &bytes, ends).await.expect("sent");
        let (mut read, mut body) = (Vec::new(), unsealed.read().await.expect("readable"));
        while let Some(piece) = body.next().await.expect("readable") {
            read.extend_from_slice(&piece);
        }
        assert!(read == bytes, "{ends:?}: other bytes");
        let stored = unsealed.seal(bytes.len() as u64, &digests(&bytes), &|| Ok(())).await.expect("sealed");
        assert_eq!((stored.size, stored.sha256), (bytes.len() as u64, Some(digests(&bytes).sha256)));
        assert_eq!(store.bucket.head(key.as_str()).await.expect("asked").as_ref(), Some(&stored));
        // What is sealed is found, and can be sealed again; what is of other facts is not ours.
        let facts = stored.facts.clone().expect("ours");
        let again = store.bucket.completed(&key, &facts, stored.size).await.expect("asked").expect("there");
        again.seal(stored.size, &digests(&bytes), &|| Ok(())).await.expect("sealed again");
        assert!(
            store.bucket.completed(&key, &store.facts("a.bin"), stored.size).await.expect("asked").is_none()
        );
        assert!(store.bucket.completed(&key, &facts, stored.size + 1).await.expect("asked").is_none());
        assert_eq!(store.unfinished(&key).await, 0);
        // The same parts as of an upload in one go, hence the same tag, as edge caches and backups want it.
        if bytes.len() > PART_SIZE {
            store.bucket.delete(key.as_str()).await.expect("deleted");
            assert_eq!(store.store("a.bin", &bytes).await.expect("stored").etag, stored.etag);
        }
        store.bucket.delete(key.as_str()).await.expect("deleted");
    }
}

async fn what_is_gone_is_told(store: &Store) {
    let (id, key, facts) = (Uuid::now_v7(), store.key("a.bin"), store.facts("a.bin"));
    let mut upload = store.bucket.resume(id, &key, &facts, &Kept::default()).await.expect("begun");
    upload.write(content(1000).into()).await.expect("written");
    let kept = upload.park().await.expect("kept");
    drop(upload);
    store.bucket.remove_scratch(id).await.expect("removed");
    for upload in store.bucket.unfinished_uploads(Some(key.as_str())).await.expect("listed") {
        store.bucket.abort_upload(&upload).await.expect("aborted");
    }
    let lost = store.bucket.resume(id, &key, &facts, &kept).await.err().expect("it is gone");
    assert_eq!((lost.kind(), lost.code()), (Kind::NotFound, "upload-lost"));
    for upload in store.bucket.unfinished_uploads(Some(key.as_str())).await.expect("listed") {
        store.bucket.abort_upload(&upload).await.expect("aborted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_comes_in_pieces_to_s3() {
    comes_in_pieces(&Store::s3()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_comes_in_pieces_into_a_directory() {
    comes_in_pieces(&Store::directory().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_from_s3_is_told() {
    what_is_gone_is_told(&Store::s3()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_from_a_directory_is_told() {
    what_is_gone_is_told(&Store::directory().await).await;
}

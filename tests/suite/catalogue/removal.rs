//! Removing images for good.

use firmament::domain::{Recall, ladder};

use super::*;

/// A product with two images; the first is promoted to `stable`.
async fn two_images(catalogue: &Arc<dyn Catalogue>) -> (Product, NewImage, NewImage) {
    let product = new_product(catalogue, "p").await;
    let first = new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None);
    publish(catalogue, &first, Some(&promote("stable", &[first.image.id], &[]))).await;
    let second = new_image(&reservation(&product, "1.1.0", "b.bin", &[]), None);
    publish(catalogue, &second, None).await;
    (product, first, second)
}

async fn remove(catalogue: &Arc<dyn Catalogue>, product: &Product, images: &[Uuid]) -> ProductState {
    let judged_at = revision_of(catalogue, &product.name).await;
    done(catalogue.remove(&product.name, images, judged_at, &audit("image.remove")).await)
}

pub async fn a_removed_image_keeps_its_row_and_is_offered_to_nobody(catalogue: Arc<dyn Catalogue>) {
    let (product, first, second) = two_images(&catalogue).await;
    let before = state_of(&catalogue, &product.name).await;
    let after = remove(&catalogue, &product, &[first.image.id]).await;
    assert_eq!(after, state_of(&catalogue, &product.name).await);
    assert_eq!(after.product.revision.0, before.product.revision.0 + 1);
    let (_, image) = after.image(first.image.id).expect("its row stays");
    assert!(image.removed_at.is_some());
    assert_eq!(
        *image,
        Image { removed_at: image.removed_at, ..before.image(first.image.id).expect("there").1.clone() }
    );
    assert_eq!(after.image(second.image.id).expect("there").1.removed_at, None);
    // Also where it is still promoted.
    assert!(promoted(&after, "stable").contains(&first.image.id));
    assert_eq!(ladder::ladder(&after, &ChannelName::stable(), None).len(), 0);
    assert!(catalogue.known_keys(&["p/1.0.0/a.bin".into()]).await.expect("works").contains("p/1.0.0/a.bin"));
    // Whoever follows the changes is told.
    let changes = catalogue.changes(before.product.revision, 10).await.expect("works");
    assert_eq!(changes.products, [without_facts(after.clone())]);
    let newest = catalogue.audit(&product.name, 1).await.expect("works").remove(0);
    assert_eq!((newest.action.as_str(), newest.revision), ("image.remove", after.product.revision));
}

pub async fn removing_again_changes_nothing(catalogue: Arc<dyn Catalogue>) {
    let (product, first, second) = two_images(&catalogue).await;
    let once = remove(&catalogue, &product, &[first.image.id]).await;
    assert_eq!(remove(&catalogue, &product, &[first.image.id]).await, once);
    let both = remove(&catalogue, &product, &[first.image.id, second.image.id]).await;
    let at = |state: &ProductState| state.image(first.image.id).expect("there").1.removed_at;
    assert_eq!(at(&both), at(&once), "the first keeps its time");
    assert!(both.release(&version("1.1.0")).expect("there").is_removed());
}

pub async fn removing_on_old_facts_is_stale(catalogue: Arc<dyn Catalogue>) {
    let (product, first, second) = two_images(&catalogue).await;
    let judged_at = revision_of(&catalogue, &product.name).await;
    let promotion = promote("stable", &[second.image.id], &[]);
    done(catalogue.promote(&product.name, &promotion, judged_at, &audit("channel.promote")).await);
    let images = [first.image.id, second.image.id];
    let written = catalogue.remove(&product.name, &images, judged_at, &audit("image.remove")).await;
    assert_eq!(written.expect("works"), Written::Stale);
    let state = state_of(&catalogue, &product.name).await;
    assert!(state.releases.iter().all(|release| !release.is_removed()));
    // And the other way round.
    let judged_at = revision_of(&catalogue, &product.name).await;
    remove(&catalogue, &product, &[first.image.id]).await;
    let promotion = promote("beta", &[first.image.id], &[]);
    let written = catalogue.promote(&product.name, &promotion, judged_at, &audit("channel.promote")).await;
    assert_eq!(written.expect("works"), Written::Stale);
}

pub async fn removed_objects_are_told_until_they_are_gone(catalogue: Arc<dyn Catalogue>) {
    let (product, first, second) = two_images(&catalogue).await;
    assert_eq!(catalogue.removed(None, 10).await.expect("works"), []);
    assert!(!catalogue.object_is_gone(first.image.id).await.expect("works"), "it is not removed");
    remove(&catalogue, &product, &[first.image.id]).await;
    let state = remove(&catalogue, &product, &[second.image.id]).await;
    let removed = catalogue.removed(None, 10).await.expect("works");
    assert_eq!(
        removed.iter().map(|removed| removed.image).collect::<Vec<_>>(),
        [first.image.id, second.image.id]
    );
    let told = &removed[1];
    assert_eq!((told.product.as_str(), told.filename.as_str()), ("p", "b.bin"));
    assert_eq!((&told.version, told.size, told.sha256), (&version("1.1.0"), 5_000_000_000, [0xff; 32]));
    assert_eq!(Some(told.removed_at), state.image(second.image.id).expect("there").1.removed_at);
    assert_eq!(catalogue.removed(None, 1).await.expect("works").len(), 1);
    for (after, behind) in [(None, &removed[..]), (Some(0), &removed[1..]), (Some(1), &[])] {
        let after = after.map(|index: usize| removed[index].at());
        assert_eq!(catalogue.removed(after, 10).await.expect("works"), behind);
    }
    assert!(catalogue.object_is_gone(first.image.id).await.expect("works"));
    assert!(!catalogue.object_is_gone(first.image.id).await.expect("works"), "it was noted");
    let removed = catalogue.removed(None, 10).await.expect("works");
    assert_eq!(removed.iter().map(|removed| removed.image).collect::<Vec<_>>(), [second.image.id]);
    assert_eq!(revision_of(&catalogue, &product.name).await, state.product.revision, "a note is no change");
}

pub async fn a_recalled_release_can_be_removed(catalogue: Arc<dyn Catalogue>) {
    let (product, first, _) = two_images(&catalogue).await;
    let judged_at = revision_of(&catalogue, &product.name).await;
    let recalled =
        catalogue.recall(&product.name, &version("1.0.0"), "bad", None, judged_at, &audit("")).await;
    done(recalled);
    let state = remove(&catalogue, &product, &[first.image.id]).await;
    let release = state.release(&version("1.0.0")).expect("its row stays");
    assert!(release.is_removed());
    assert!(matches!(&release.recall, Some(Recall { reason, .. }) if reason == "bad"));
}

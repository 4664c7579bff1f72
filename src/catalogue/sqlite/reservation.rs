//! Who may write a key. The one writer makes looking and taking a single step; the unique constraint on the slots
//! is the net below.

use std::time::Duration;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    super::{
        Reservation, Reserved,
        stored::{self, ReservationRow},
    },
    now, read,
    rows::json,
};
use crate::{domain::Revision, error::Result};

pub(super) fn now_micros() -> i64 {
    now().timestamp_micros()
}

pub(super) fn until(lease: Duration) -> i64 {
    now_micros().saturating_add(stored::stored_lease(lease))
}

pub(super) async fn reserve(
    connection: &mut SqliteConnection,
    reservation: &Reservation,
    judged_at: Revision,
    lease: Duration,
) -> Result<Reserved> {
    let product = match read::find(connection, &reservation.product).await? {
        Some(product) if product.revision == judged_at => product,
        _ => return Ok(Reserved::Stale),
    };
    match holder(connection, reservation, product.id).await? {
        // The same call once more, after its answer was lost.
        Some((by, _)) if by == *reservation => return Ok(Reserved::Granted),
        Some((by, expired)) => return Ok(Reserved::Held { by, expired }),
        None => {}
    }
    sqlx::query(
        "insert into reservations (id, product_id, version, filename, hardware, holder, expires_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(reservation.id.hyphenated())
    .bind(product.id.hyphenated())
    .bind(reservation.version.to_string())
    .bind(reservation.filename.as_str())
    .bind(json(&reservation.hardware))
    .bind(reservation.holder.hyphenated())
    .bind(until(lease))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "insert into reservation_slots (reservation_id, product_id, version, slot)
         select ?1, ?2, ?3, value from json_each(?4)",
    )
    .bind(reservation.id.hyphenated())
    .bind(product.id.hyphenated())
    .bind(reservation.version.to_string())
    .bind(json(stored::slots(reservation)))
    .execute(connection)
    .await?;
    Ok(Reserved::Granted)
}

/// The oldest reservation that covers one of the wanted slots.
async fn holder(
    connection: &mut SqliteConnection,
    wanted: &Reservation,
    product: Uuid,
) -> Result<Option<(Reservation, bool)>> {
    let row: Option<ReservationRow> = sqlx::query_as(
        "select reservations.id, products.name as product, reservations.version, reservations.filename,
                reservations.hardware, reservations.holder, reservations.expires_at <= ?4 as expired
         from reservation_slots
         join reservations on reservations.id = reservation_slots.reservation_id
         join products on products.id = reservation_slots.product_id
         where reservation_slots.product_id = ?1 and reservation_slots.version = ?2
               and reservation_slots.slot in (select value from json_each(?3))
         order by reservations.id limit 1",
    )
    .bind(product.hyphenated())
    .bind(wanted.version.to_string())
    .bind(json(stored::slots(wanted)))
    .bind(now_micros())
    .fetch_optional(connection)
    .await?;
    row.map(ReservationRow::into_reservation).transpose()
}

pub(super) async fn renew(
    connection: &mut SqliteConnection,
    reservation: &Reservation,
    lease: Duration,
) -> Result<bool> {
    let renewed = sqlx::query("update reservations set expires_at = ?3 where id = ?1 and holder = ?2")
        .bind(reservation.id.hyphenated())
        .bind(reservation.holder.hyphenated())
        .bind(until(lease))
        .execute(connection)
        .await?;
    Ok(renewed.rows_affected() > 0)
}

pub(super) async fn claim(
    connection: &mut SqliteConnection,
    reservation: Uuid,
    holder: Uuid,
    lease: Duration,
) -> Result<bool> {
    let claimed = sqlx::query(
        "update reservations set holder = ?2, expires_at = ?3 where id = ?1 and expires_at <= ?4",
    )
    .bind(reservation.hyphenated())
    .bind(holder.hyphenated())
    .bind(until(lease))
    .bind(now_micros())
    .execute(connection)
    .await?;
    Ok(claimed.rows_affected() > 0)
}

/// Ends the reservation; `false` = it was not its holder's any more.
pub(super) async fn end(connection: &mut SqliteConnection, reservation: &Reservation) -> Result<bool> {
    let ended = sqlx::query("delete from reservations where id = ?1 and holder = ?2")
        .bind(reservation.id.hyphenated())
        .bind(reservation.holder.hyphenated())
        .execute(connection)
        .await?;
    Ok(ended.rows_affected() > 0)
}

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<(Reservation, bool)>> {
    let rows: Vec<ReservationRow> = sqlx::query_as(
        "select reservations.id, products.name as product, reservations.version, reservations.filename,
                reservations.hardware, reservations.holder, reservations.expires_at <= ?1 as expired
         from reservations join products on products.id = reservations.product_id
         order by reservations.id",
    )
    .bind(now_micros())
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(ReservationRow::into_reservation).collect()
}

pub(super) async fn expire_leases_of(connection: &mut SqliteConnection, holder: Uuid) -> Result<u64> {
    let expired =
        sqlx::query("update reservations set expires_at = ?2 where holder = ?1 and expires_at > ?2")
            .bind(holder.hyphenated())
            .bind(now_micros())
            .execute(connection)
            .await?;
    Ok(expired.rows_affected())
}

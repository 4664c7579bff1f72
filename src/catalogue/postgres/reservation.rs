//! Who may write a key. The unique constraint on the slots decides a race; the server's clock decides a lease.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    super::{
        Reservation, Reserved, ResumableUpload,
        stored::{self, ReservationRow},
    },
    upload,
};
use crate::{domain::Revision, error::Result};

/// Takes the reservation, or finds who holds it. Ends in time, as the call that it is part of does: it begins again
/// only when the one that was in the way has ended in between. With an upload, that is remembered along with it.
pub(super) async fn reserve(
    connection: &mut PgConnection,
    reservation: &Reservation,
    judged_at: Revision,
    lease: Duration,
    upload: Option<&ResumableUpload>,
) -> Result<Reserved> {
    loop {
        match try_reserve(connection, reservation, judged_at, lease, upload).await? {
            Attempt::Granted => return Ok(Reserved::Granted),
            Attempt::Stale => return Ok(Reserved::Stale),
            Attempt::InTheWay => {}
        }
        match holder(connection, reservation).await? {
            // The same call once more, after its answer was lost.
            Some((by, _)) if by == *reservation => return Ok(Reserved::Granted),
            Some((by, expired)) => return Ok(Reserved::Held { by, expired }),
            None => {}
        }
    }
}

enum Attempt {
    Granted,
    Stale,
    InTheWay,
}

async fn try_reserve(
    connection: &mut PgConnection,
    reservation: &Reservation,
    judged_at: Revision,
    lease: Duration,
    upload: Option<&ResumableUpload>,
) -> Result<Attempt> {
    let mut transaction = connection.begin().await?;
    // Shared: reservations of one product do not wait for each other here, but a change of the product does, so a
    // reservation is never granted on what has ceased to be true.
    let product = sqlx::query_scalar!(
        "select id from products where name = $1 and revision = $2 for share",
        reservation.product.as_str(),
        stored::stored_revision(judged_at)
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(product) = product else {
        transaction.rollback().await?;
        return Ok(Attempt::Stale);
    };
    let version = reservation.version.to_string();
    let inserted = sqlx::query!(
        "insert into reservations (id, product_id, version, filename, hardware, holder, expires_at)
         values ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7::bigint * interval '1 microsecond')
         on conflict on constraint reservations_pkey do nothing",
        reservation.id,
        product,
        version,
        reservation.filename.as_str(),
        &stored::hardware_names(&reservation.hardware),
        reservation.holder,
        stored::stored_lease(lease)
    )
    .execute(&mut *transaction)
    .await?;
    if inserted.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(Attempt::InTheWay);
    }
    // `do nothing` rather than an error, which would be in the server's log for every ordinary race.
    let slots = stored::slots(reservation);
    let taken = sqlx::query!(
        "insert into reservation_slots (reservation_id, product_id, version, slot)
         select $1, $2, $3, slot from unnest($4::text[]) as slot
         on conflict on constraint reservation_slots_key do nothing",
        reservation.id,
        product,
        version,
        &slots
    )
    .execute(&mut *transaction)
    .await?;
    if taken.rows_affected() < slots.len() as u64 {
        transaction.rollback().await?;
        return Ok(Attempt::InTheWay);
    }
    if let Some(upload) = upload {
        upload::insert(&mut transaction, upload).await?;
    }
    transaction.commit().await?;
    Ok(Attempt::Granted)
}

/// The oldest reservation that covers one of the wanted slots.
async fn holder(connection: &mut PgConnection, wanted: &Reservation) -> Result<Option<(Reservation, bool)>> {
    let row = sqlx::query_as!(
        ReservationRow,
        r#"select reservations.id, products.name as product, reservations.version, reservations.filename,
                  reservations.hardware, reservations.holder,
                  reservations.expires_at <= clock_timestamp() as "expired!"
           from reservation_slots
           join reservations on reservations.id = reservation_slots.reservation_id
           join products on products.id = reservation_slots.product_id
           where products.name = $1 and reservation_slots.version = $2 and reservation_slots.slot = any($3)
           order by reservations.id limit 1"#,
        wanted.product.as_str(),
        wanted.version.to_string(),
        &stored::slots(wanted)
    )
    .fetch_optional(connection)
    .await?;
    row.map(ReservationRow::into_reservation).transpose()
}

pub(super) async fn renew(
    connection: &mut PgConnection,
    reservation: &Reservation,
    lease: Duration,
) -> Result<bool> {
    let renewed = sqlx::query!(
        "update reservations set expires_at = clock_timestamp() + $3::bigint * interval '1 microsecond'
         where id = $1 and holder = $2",
        reservation.id,
        reservation.holder,
        stored::stored_lease(lease)
    )
    .execute(connection)
    .await?;
    Ok(renewed.rows_affected() > 0)
}

pub(super) async fn claim(
    connection: &mut PgConnection,
    reservation: Uuid,
    holder: Uuid,
    lease: Duration,
) -> Result<bool> {
    let claimed = sqlx::query!(
        "update reservations
         set holder = $2, expires_at = clock_timestamp() + $3::bigint * interval '1 microsecond'
         where id = $1 and expires_at <= clock_timestamp()",
        reservation,
        holder,
        stored::stored_lease(lease)
    )
    .execute(connection)
    .await?;
    Ok(claimed.rows_affected() > 0)
}

pub(super) async fn release(connection: &mut PgConnection, reservation: &Reservation) -> Result<()> {
    sqlx::query!(
        "delete from reservations where id = $1 and holder = $2",
        reservation.id,
        reservation.holder
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<(Reservation, bool)>> {
    let rows = sqlx::query_as!(
        ReservationRow,
        r#"select reservations.id, products.name as product, reservations.version, reservations.filename,
                  reservations.hardware, reservations.holder,
                  reservations.expires_at <= clock_timestamp() as "expired!"
           from reservations join products on products.id = reservations.product_id
           order by reservations.id"#
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(ReservationRow::into_reservation).collect()
}

pub(super) async fn expire_leases_of(connection: &mut PgConnection, holder: Uuid) -> Result<u64> {
    let expired = sqlx::query!(
        "update reservations set expires_at = clock_timestamp()
         where holder = $1 and expires_at > clock_timestamp()",
        holder
    )
    .execute(connection)
    .await?;
    Ok(expired.rows_affected())
}

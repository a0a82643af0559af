//! Our types as SQLite values and back.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use wharf_frames::{Action, OperationId, PackageName, PackageVersion, Secret, StageId, Text};
use wharf_software::{
    InstanceId, OperationKind, ShortId, UpdateResult, UpdateState, effect::EffectKind,
};

/// A value of ours in a statement or a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sql<T>(pub(super) T);

macro_rules! blob {
    ($($type:ty),*) => {$(
        impl ToSql for Sql<$type> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.0.as_bytes().as_slice().into())
            }
        }

        impl FromSql for Sql<$type> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let bytes: [u8; 16] = FromSql::column_result(value)?;
                Ok(Self(<$type>::from_bytes(bytes)))
            }
        }
    )*};
}
blob!(OperationId, StageId);

macro_rules! text {
    ($($type:ty = $read:expr;)*) => {$(
        impl ToSql for Sql<$type> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.0.as_str().into())
            }
        }

        impl FromSql for Sql<$type> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let text = value.as_str()?;
                let read: Option<$type> = $read(text);
                read.map(Self).ok_or_else(|| FromSqlError::Other(format!("{text:?} is not known").into()))
            }
        }
    )*};
}
text! {
    PackageName = |text| PackageName::new(text).ok();
    PackageVersion = |text| PackageVersion::new(text).ok();
    Text = |text| Some(Text::new(text));
    Action = Action::parse;
    OperationKind = OperationKind::parse;
    EffectKind = EffectKind::parse;
}

impl ToSql for Sql<Secret> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.expose().into())
    }
}

impl FromSql for Sql<Secret> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(Secret::new(value.as_blob()?.to_vec())))
    }
}

macro_rules! number {
    ($($type:ty = $write:expr, $read:expr;)*) => {$(
        impl ToSql for Sql<$type> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(i64::from($write(self.0)).into())
            }
        }

        impl FromSql for Sql<$type> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let number = value.as_i64()?;
                let read: Option<$type> = $read(number);
                read.map(Self).ok_or(FromSqlError::OutOfRange(number))
            }
        }
    )*};
}
number! {
    InstanceId = |id: InstanceId| id.0, |number| u16::try_from(number).ok().map(InstanceId);
    ShortId = |id: ShortId| id.0, |number| u16::try_from(number).ok().map(ShortId);
    UpdateState = UpdateState::value, |number| u8::try_from(number).ok().and_then(UpdateState::from_value);
    UpdateResult = UpdateResult::value, |number| u8::try_from(number).ok().and_then(UpdateResult::from_value);
    u64 = |number: u64| number.min(i64::MAX as u64) as i64, |number| u64::try_from(number).ok();
}

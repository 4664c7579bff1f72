//! All integration tests in one binary: it links once, and its parts share their harness. They need real services:
//! run `tests/run`.

mod bucket;
mod catalogue;
mod following;
mod harness;
mod layering;
mod linearizable;
mod openapi;
mod postgres;
mod process;
mod routers;

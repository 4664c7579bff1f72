//! The whole process from outside: the real binary, spoken to as publishers, devices and operators do.

mod check;
mod commands;
mod crash;
mod drain;
mod errors;
mod first_run;
mod limits;
mod links;
mod outage;
mod publish;
mod races;
mod replicas;
mod restored;
mod simulate;
mod vanish;

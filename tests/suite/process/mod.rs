//! The whole process from outside: the real binary, spoken to as publishers, devices and operators do.

mod attachments;
mod audit;
mod check;
mod commands;
mod crash;
mod direct;
mod drain;
mod edge;
mod edge_akamai;
mod errors;
mod first_run;
mod gate;
mod limits;
mod links;
mod origin;
mod outage;
mod publish;
mod races;
mod replicas;
mod restored;
mod resumable;
mod resumable_clients;
mod resumable_crash;
mod simulate;
mod vanish;

//! Root's side, by its real programs: the contract of every package manager, the job socket, and exits at every step.

mod contract;
mod crash;
mod job_socket;
mod machine;

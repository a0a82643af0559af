//! wharfd, the software-management agent of a Linux gateway. It downloads, verifies and installs what an LwM2M server
//! requests through Object 9, and reports the true state after any crash.
//!
//! Arrows point down: a module names only those below it.
//!
//! | module | idea |
//! | --- | --- |
//! | [`agent`] | the one event loop: engine, machine, store, tasks; commits, then acts |
//! | [`server`] | one LwM2M server: engine, connection, account, registration and state |
//! | [`objects`] | LwM2M objects: values to read, and a Write as an event |
//! | [`jobs`], [`delivery`] | the tasks of an effect: a job of the installer, a download |
//! | [`tasks`] | the context that those tasks share, and their reports |
//! | [`bus`] | D-Bus: the public state, and the requests of root |
//! | [`installer`], [`frame_socket`] | wharfd's side of the job socket |
//! | [`local_changes`] | notices that another program may have changed the device |
//! | [`file_name`] | the package name in a file name |
//! | [`trace`] | CoAP messages for `wharfctl trace` |
//! | [`store`] | SQLite: the state that outlives wharfd |
//! | [`service_manager`] | notifications for systemd |
//! | [`config`], [`endpoint`], [`arguments`], [`clock`] | the settings of the administrator, and facts of the machine |
//! | [`as_wharfd`] | checks that root runs with the rights of the service |
//! | [`doctor`] | the checks of `wharfctl doctor` that need the settings |
//! | `kernel_timer` | a timer that wakes once |

pub mod agent;
pub mod arguments;
pub mod as_wharfd;
pub mod bus;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod doctor;
pub mod endpoint;
pub mod file_name;
pub mod frame_socket;
pub mod installer;
pub mod jobs;
mod kernel_timer;
pub mod local_changes;
pub mod objects;
mod random;
pub mod server;
pub mod service_manager;
pub mod store;
pub mod tasks;
pub mod trace;

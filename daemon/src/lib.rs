//! wharfd, the software-management agent of a Linux gateway: what an LwM2M server orders through Object 9
//! is brought, judged and installed, and told truthfully, whatever is killed meanwhile.
//!
//! Arrows point down: a module names only those below it.
//!
//! | module | idea |
//! | --- | --- |
//! | [`agent`] | the one event loop: engine, machine, store, tasks; commits, then acts |
//! | [`server`] | one LwM2M server: engine, the way there, account, registration, how it stands |
//! | [`objects`] | LwM2M objects: what a server reads, and what it writes as an event |
//! | [`jobs`], [`delivery`] | what tasks do for an effect: a job of the installer, a download |
//! | [`work`] | what those tasks share, and how they report |
//! | [`bus`] | D-Bus: what is shown to everybody, what root asks for |
//! | [`installer`], [`frame_socket`] | wharfd's side of the job socket |
//! | [`local_changes`] | word that somebody else may have changed the device |
//! | [`file_name`] | the package name in a file name |
//! | [`trace`] | CoAP as it goes by, for who watches |
//! | [`store`] | SQLite: what must survive |
//! | [`service_manager`] | what systemd is told |
//! | [`config`], [`endpoint`], [`arguments`], [`clock`] | what the administrator and the machine say |
//! | [`as_wharfd`] | checks with the rights of the service, run by root |
//! | [`doctor`] | those checks of `wharfctl doctor` that need the settings |
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
pub mod trace;
pub mod work;

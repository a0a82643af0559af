//! The events of docs/machine.md, and the clauses that their outcomes cite.

use wharf_frames::{
    Action, Cause, Failure, Secret,
    installer::{Found, JobPhase},
};
use wharf_software::{
    ActivationPolicy, ComponentSwitch, Event, Instance, ObjectLink, OperationKind, PackageSource,
    Requester, Rules, ShortId, UpdateState, Write,
};

use crate::{
    cells::*,
    steps::{by_user, purge, underway},
};

/// The decisions that the cells cite, besides the specification.
pub(crate) const DECISIONS: [(&str, &str); 33] = [
    (
        "D1",
        "An accepted Execute is answered 2.04 at once, and the work comes later. State and Result stay readable: DELIVERED / 0 while installing, INSTALLED / 2 while removing.",
    ),
    (
        "D2",
        "While busy, the same operation again is answered 2.04 and starts no second job. Any other one is answered 4.05.",
    ),
    (
        "D3",
        "If the TS gives an Execute 'no effect', it has none and is answered 4.05, so that the server notices.",
    ),
    (
        "D4",
        "An accepted operation first clears the last failure. A second failure is then a change, and notifies.",
    ),
    (
        "D5",
        "Uninstall without argument or with bare `0` removes the software in INSTALLED and, if it is in place, in INITIAL. In DELIVERED it drops the new package with Result 0 (TS 5.1.2.4; table 5.1.1-1 says 'unchanged'), and software in place stays.",
    ),
    (
        "D6",
        "Uninstall with bare `1` leads to INITIAL / 0. The software in place stays and continues to run; 12 reads false, since the activation machine is not alive.",
    ),
    (
        "D7",
        "Uninstall with any other argument, a value or a repeated digit is answered 4.00 and removes nothing. Install, Activate and Deactivate ignore valid arguments.",
    ),
    (
        "D8",
        "Activate in ACTIVE and Deactivate in INACTIVE are answered 2.04, without a change or a notification.",
    ),
    (
        "D9",
        "After a failed activation 12 has the state of the device, the Result is 2, and 16 has the reason.",
    ),
    (
        "D10",
        "A removal that fails or leaves a part leads to INSTALLED / 59 with the reason in 16, also if it was requested in INITIAL.",
    ),
    (
        "D11",
        "Package and Package URI outside INITIAL or while busy are answered 4.05 and change nothing. An empty one does not cancel.",
    ),
    (
        "D12",
        "In INITIAL an empty, malformed or unsupported URI is answered 4.00 with Result 56, an empty Package 4.00 with 54. 16 has the reason.",
    ),
    (
        "D13",
        "With `replace-failed`, a Write of 2 or 3 in DELIVERED / 58 drops the file and starts over.",
    ),
    (
        "D14",
        "A Write of several resources is one unit: all of it is checked, then all of it is stored, then the download starts.",
    ),
    (
        "D15",
        "8, 13, 14, 15 are writable in any state. 14 and 15 are valid for one download and erased at its end. 13 must link to an existing object or be null, else 4.00.",
    ),
    (
        "D16",
        "A queued or deferred download is DOWNLOAD STARTED / 1 at once, Status Reason 10 with the reason for the wait; 30 from the first byte on.",
    ),
    (
        "D17",
        "Block 0 again from the same server restarts the push; from another server it is answered 4.05.",
    ),
    (
        "D18",
        "PkgName and PkgVersion: of the software in place, or empty, until DOWNLOADED; of the package in DELIVERED; of the device in INSTALLED.",
    ),
    (
        "D19",
        "Delete while busy or with software in place, complete or not, is answered 4.05 in any state. Otherwise it deletes the files and ends a running download.",
    ),
    (
        "D20",
        "The instance shows the software as it is on the device, also after a removal, upgrade, start or stop by hand. Software that is there in part is not removed; 16 says so until it is complete, except while a package is being delivered. While busy, the end of the job reports the state.",
    ),
    (
        "D21",
        "A report about another operation or file than the running one changes nothing, and neither does a repeated report.",
    ),
    (
        "D22",
        "The end of a job is judged by the device, not by an exit code: it has nothing, the software, or a part of it, which stays in place until it is removed. Software from before that wharfd did not install does not become the instance's. A failed installation keeps the package (70 is never used).",
    ),
    (
        "D23",
        "The gate ends an Install with 57 if the package has another name than the software in place, or if another instance has it in place.",
    ),
    (
        "D24",
        "After an Install the software is INACTIVE (TS 5.2), or activated by the policy `keep` or `always`. If it replaces software that was active, Install and Activate are one transaction: the job checks that the new version stays up. If it does not, the old version is back, and the Install has failed. A first installation and the agent's own package get an Activate of their own.",
    ),
    (
        "D25",
        "The agent's own package is always activated; its Deactivate, its removal and its Delete are answered 4.05.",
    ),
    (
        "D26",
        "With resource 8 set, a change of the software causes an Update of the registration; Create and Delete always do.",
    ),
    (
        "D27",
        "The gate ends a pull with 57 and sends nothing if User Name or Password would go without TLS to an origin that wharfd.toml does not allow.",
    ),
    (
        "D28",
        "Activate and Deactivate by a local user act on the software in place, also in INITIAL and DELIVERED. They are refused while a package is being delivered. State, Result, 0, 1 and 12 stay as the TS has them; 16 adds what is in place and whether it runs. Those of a server have no effect outside INSTALLED (TS 5.2).",
    ),
    (
        "D29",
        "A download that waits for its next attempt passes the gate again: another one may have its turn. Its operation ends with the verdict on the package.",
    ),
    (
        "D30",
        "Cancel is for local users, and names its operation. It is refused if another one runs. A download or its verification ends in INITIAL / 57, and an operation in the gate ends as if the gate refused it. The installer cancels a job that it has, until the job begins to change the device.",
    ),
    (
        "D31",
        "A purge is for local users. It removes the software with its configuration, if root's policy allows it. It starts in INSTALLED and INITIAL with software in place; Uninstall drops a delivered package. If policy does not allow it, the Result in INSTALLED is 57; any other failure is 59. A purge that fails in INITIAL stays INITIAL / 0 with the reason in 16: the server did not request it, and may be about to write a package. If only configuration is left, the state is INITIAL / 0, and 16 says so. An Uninstall while it runs is another operation (D2).",
    ),
    (
        "D32",
        "Back is for local users, and only in INSTALLED. The installer puts back the version before, of which it keeps the file. State and Result stay INSTALLED / 2; 16 has the reason of a failure. The agent's own package has no Back.",
    ),
    (
        "D33",
        "A bundle is active if all of its components are. 10 and 11 act on all of them, as long as one is not as requested. Activate and Deactivate of one component (14/x/3, 14/x/4) act in INSTALLED only; outside they are answered 4.05. While one runs, every other request for the instance is another operation (D2). An Install has succeeded if the device has each component of the package, complete.",
    ),
];

/// One event in all cells.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) event: Event,
    pub(crate) rules: Rules<'static>,
    /// The citations: of a transition, of an accepted request without effect, of a refusal.
    pub(crate) changed: fn(&Instance) -> &'static str,
    pub(crate) kept: &'static str,
    pub(crate) refused: fn(&Instance) -> &'static str,
}

impl Section {
    fn request(
        title: &'static str,
        event: Event,
        changed: fn(&Instance) -> &'static str,
        refused: fn(&Instance) -> &'static str,
    ) -> Self {
        Self {
            title,
            event,
            rules: rules(),
            changed,
            kept: "D2",
            refused,
        }
    }

    fn report(title: &'static str, event: Event, changed: fn(&Instance) -> &'static str) -> Self {
        Self {
            title,
            event,
            rules: rules(),
            changed,
            kept: "D21",
            refused: |_| "",
        }
    }

    fn by(self, rules: Rules<'static>) -> Self {
        Self { rules, ..self }
    }

    fn kept(self, kept: &'static str) -> Self {
        Self { kept, ..self }
    }
}

fn write(write: Write) -> Event {
    Event::Write {
        write,
        starts: starts(),
        stage: NEW_STAGE,
    }
}

fn source(source: PackageSource) -> Event {
    write(Write {
        source: Some(source),
        ..Write::default()
    })
}

fn package_by(requester: Requester) -> Event {
    let mut starts = starts();
    starts.requester = requester;
    let source = Some(PackageSource::Package { empty: false });
    Event::Write {
        write: Write {
            source,
            ..Write::default()
        },
        starts,
        stage: NEW_STAGE,
    }
}

fn execute(action: Action, arguments: &str) -> Event {
    Event::Execute {
        action,
        arguments: arguments.into(),
        starts: starts(),
    }
}

fn ended(failure: bool, device: Option<Found>) -> Event {
    Event::Ended {
        operation: RUNNING,
        failure: failure.then(|| Failure::new(Cause::Script, "a maintainer script failed")),
        device,
        next: NEXT,
    }
}

fn device(device: Option<(&str, bool)>) -> Event {
    Event::DeviceHas(device.map(|(version, active)| found(version, active)))
}

fn no_effect(cell: &Instance) -> &'static str {
    if cell.is_busy() {
        "D2"
    } else {
        "TS 5.1.3, 5.2; D3"
    }
}

/// The clauses for a server's Activate or Deactivate.
fn no_switch(cell: &Instance) -> &'static str {
    match cell.operation().map(|operation| operation.kind) {
        Some(
            OperationKind::Action(Action::Activate) | OperationKind::Action(Action::Deactivate),
        ) if cell.update_state() != UpdateState::Installed => "TS 5.2; D28",
        _ => no_effect(cell),
    }
}

fn of_end(cell: &Instance) -> &'static str {
    match cell.operation().map(|operation| operation.kind) {
        Some(OperationKind::Action(Action::Install)) => "TS table 5.1.1-1, 5.1.2.4; D22, D24",
        Some(OperationKind::Action(Action::Uninstall)) => "TS table 5.1.1-1, 5.1.2.5; D10, D22",
        Some(OperationKind::Action(Action::Purge)) => "TS table 5.1.1-1, 5.1.2.5; D10, D22, D31",
        Some(OperationKind::Action(Action::Back)) => "D18, D22, D32",
        _ if cell.switching().is_some() => "TS 5.2; D9, D22, D33",
        _ => "TS 5.2; D9, D20, D22, D28",
    }
}

fn of_refusal(cell: &Instance) -> &'static str {
    match cell.operation().map(|operation| operation.kind) {
        Some(OperationKind::Action(Action::Install)) => "TS table 5.1.1-1; D23",
        Some(OperationKind::Action(Action::Uninstall)) => "D10",
        Some(OperationKind::Action(Action::Purge)) => "D10, D31",
        Some(
            OperationKind::Action(Action::Activate) | OperationKind::Action(Action::Deactivate),
        ) => "D9, D28",
        Some(OperationKind::Action(Action::Back)) => "D32",
        Some(OperationKind::Pull) => "TS table 5.1.1-1, 5.1.2.2; D15, D27",
        _ => "TS table 5.1.1-1, 5.1.2.2; D15",
    }
}

fn uninstalled(cell: &Instance) -> &'static str {
    match cell.update_state() {
        UpdateState::Delivered => "TS 5.1.2.4; D5",
        UpdateState::Initial => "D1, D5",
        _ => "TS 5.1.3.2; D1, D4",
    }
}

fn written(_: &Instance) -> &'static str {
    "TS table 5.1.1-1; D14, D16"
}

fn not_now(cell: &Instance) -> &'static str {
    match cell.operation().map(|operation| operation.kind) {
        Some(OperationKind::Push) => "D11, D17",
        _ => "D11",
    }
}

fn not_now_or_unusable(cell: &Instance) -> &'static str {
    if cell.update_state() == UpdateState::Initial && !cell.is_busy() {
        "D12"
    } else {
        "D11"
    }
}

fn kept_here(cell: &Instance) -> &'static str {
    if cell.is_busy() { "D2, D19" } else { "D19" }
}

pub(crate) fn sections() -> Vec<Section> {
    let mut all = writes();
    all.extend(executes());
    all.extend(reports());
    all.extend(ends());
    all
}

#[rustfmt::skip]
fn writes() -> Vec<Section> {
    let settings = |link| write(Write {
        source: None,
        update_supported_objects: Some(true),
        package_settings: Some(link),
        user_name: Some(Secret::new(b"user".to_vec())),
        password: Some(Secret::new(b"password".to_vec())),
    });
    let nowhere = ObjectLink { object: 3, instance: 1 };
    let good = || PackageSource::Uri(uri().as_secret().clone());
    let replacing = || Rules { replace_failed: true, ..rules() };
    vec![
        Section::request("Write of 8, 13, 14, 15", settings(SETTINGS), |_| "D15", |_| ""),
        Section::request("Write of a 13 without an existing object", settings(nowhere), |_| "", |_| "D15"),
        Section::request("Write of Package URI (3)", source(good()), written, not_now),
        Section::request("Write of an empty, malformed or unsupported Package URI (3)", source(PackageSource::Uri(Secret::new(Vec::new()))), |_| "", not_now_or_unusable),
        Section::request("Write of Package (2): block 0, from the server of the running operation", package_by(SERVER), |cell| match cell.update_state() {
            UpdateState::DownloadStarted => "D17",
            _ => "TS table 5.1.1-1; D14, D16",
        }, not_now),
        Section::request("Write of Package (2): block 0, from another server", package_by(Requester::Server(ShortId(2))), written, not_now),
        Section::request("Write of an empty Package (2)", source(PackageSource::Package { empty: true }), |_| "", not_now_or_unusable),
        Section::request("Write of Package URI (3), with `replace-failed`", source(good()), |cell| match cell.update_state() {
            UpdateState::Delivered => "D13",
            _ => "TS table 5.1.1-1; D14, D16",
        }, not_now).by(replacing()),
    ]
}

#[rustfmt::skip]
fn executes() -> Vec<Section> {
    let accepted = |_: &Instance| "TS 5.1.3.1; D1, D4";
    let switched = |_: &Instance| "TS 5.2; D1, D4";
    let switched_here = |cell: &Instance| match cell.update_state() {
        UpdateState::Installed => "TS 5.2; D1, D4",
        _ => "D1, D28",
    };
    let not_here = |cell: &Instance| match cell.software() {
        Some(_) if !cell.is_busy() => "D28",
        _ => no_effect(cell),
    };
    let for_update = |cell: &Instance| match cell.update_state() {
        UpdateState::Delivered => "TS 5.1.3.2; D5, D6",
        _ => "TS 5.1.3.2; D6",
    };
    let own = |cell: &Instance| match cell.update_state() {
        _ if cell.is_busy() => "D2",
        UpdateState::Installed => "D25",
        UpdateState::Initial if cell.software().is_some() => "D25",
        _ => "TS 5.1.3, 5.2; D3",
    };
    let own_switch = |cell: &Instance| match cell.update_state() {
        UpdateState::Installed if !cell.is_busy() => "D25",
        _ => no_switch(cell),
    };
    let switch = |wanted| Event::Switch(ComponentSwitch {
        component: name(if wanted { "web" } else { "php" }),
        wanted,
        arguments: Vec::new(),
        starts: starts(),
    });
    let component = |_: &Instance| "TS 5.2, table 7.-2; D1, D33";
    let no_component = |cell: &Instance| if cell.switching().is_some() { "D2" } else { "TS table 7.-2; D3, D33" };
    vec![
        Section::request("Execute Install (4)", execute(Action::Install, ""), accepted, no_effect),
        Section::request("Execute Uninstall (6) without argument", execute(Action::Uninstall, ""), uninstalled, no_effect),
        Section::request("Execute Uninstall (6) with `0`", execute(Action::Uninstall, "0"), uninstalled, no_effect),
        Section::request("Execute Uninstall (6) with `1` (ForUpdate)", execute(Action::Uninstall, "1"), for_update, no_effect),
        Section::request("Execute Uninstall (6) with another argument, as `0='1'`", execute(Action::Uninstall, "0='1'"), |_| "", |_| "D7"),
        Section::request("Execute Activate (10)", execute(Action::Activate, ""), switched, no_switch).kept("D2, D8"),
        Section::request("Execute Deactivate (11)", execute(Action::Deactivate, ""), switched, no_switch).kept("D2, D8"),
        Section::request("Execute Activate (14/x/3) of the component web", switch(true), component, no_component).kept("D2, D8"),
        Section::request("Execute Deactivate (14/x/4) of the component php", switch(false), component, no_component).kept("D2, D8"),
        Section::request("Activate by a local user", by_user(Action::Activate), switched_here, not_here).kept("D2, D8, D28"),
        Section::request("Deactivate by a local user", by_user(Action::Deactivate), switched_here, not_here).kept("D2, D8, D28"),
        Section::request("Execute Uninstall (6) without argument, the package is the agent's own", execute(Action::Uninstall, ""), uninstalled, own).by(own_rules()),
        Section::request("Execute Deactivate (11), the package is the agent's own", execute(Action::Deactivate, ""), |_| "", own_switch).by(own_rules()),
        Section::request("Purge by a local user", purge(), |_| "D4, D31", |cell| if cell.is_busy() { "D2" } else { "D3, D31" }),
        Section::request("Purge by a local user, the package is the agent's own", purge(), |_| "", |cell| match cell.update_state() {
            _ if cell.is_busy() => "D2",
            UpdateState::Installed => "D25",
            UpdateState::Initial if cell.software().is_some() => "D25",
            _ => "D3, D31",
        }).by(own_rules()),
        Section::request("Back by a local user", by_user(Action::Back), |_| "D4, D32", |cell| if cell.is_busy() { "D2" } else { "D32" }),
        Section::request("Back by a local user, the package is the agent's own", by_user(Action::Back), |_| "", |cell| if cell.is_busy() { "D2" } else { "D32" }).by(own_rules()),
        Section::request("Delete", Event::Delete, |_| "D19, D26", kept_here),
        Section::request("Cancel, by the local user 0", Event::Cancel { operation: RUNNING, by: Requester::User(0) }, |_| "D30", |_| "D30"),
    ]
}

#[rustfmt::skip]
fn reports() -> Vec<Section> {
    let failure = |cause| Failure::new(cause, "why it failed");
    let integrity = |_: &Instance| "TS table 5.1.1-1, 5.1.2.3";
    let by_hand = |_: &Instance| "D18, D20";
    vec![
        Section::report("The operation waits for the gate, or for the installer", Event::Waiting { operation: RUNNING, why: "the clock".into() }, |_| "D16"),
        Section::report("The gate lets the operation start", Event::Started { operation: RUNNING }, |_| "D1, D16, D29"),
        Section::report("The gate lets the operation start, by the policy `keep` or `always`", Event::Started { operation: RUNNING }, |_| "D1, D16, D24, D29").by(Rules { activation: ActivationPolicy::Keep, ..rules() }),
        Section::report("The installer works on the job: 16 drops the reason for the wait", underway(JobPhase::Applying), |_| "D1"),
        Section::report("The job checks that the software stays up", underway(JobPhase::Watching), |_| "D1, D24"),
        Section::report("The job failed and goes back", underway(JobPhase::Returning), |_| "D1, D24"),
        Section::report("Bytes arrive", Event::FirstByte { operation: RUNNING }, |_| "TS Appendix B; D16"),
        Section::report("The package is written", Event::PackageWritten { operation: RUNNING }, |_| "TS table 5.1.1-1, 5.1.2.3; D15"),
        Section::report("The installer has no verdict yet", Event::SealWaits { stage: STAGE, why: "a verdict".into() }, |_| "TS 5.1.2.3"),
        Section::report("The installer accepts the package", Event::Sealed { stage: STAGE, package: package() }, |_| "TS table 5.1.1-1, 5.1.2.4; D18"),
        Section::report("The installer rejects the package", Event::SealRefused { stage: STAGE, failure: failure(Cause::BadSignature) }, integrity),
        Section::report("The operation failed and left the device as it was: the connection was lost, or the gate or the installer refused", Event::Failed { operation: RUNNING, failure: failure(Cause::AnotherPackage) }, of_refusal),
        Section::report("The installer refused it by policy", Event::Failed { operation: RUNNING, failure: failure(Cause::Policy) }, of_refusal),
        Section::report("The device has nothing of the software in place", device(None), by_hand).kept("D20"),
        Section::report("The device has version 1.1, half-configured", Event::DeviceHas(Some(damaged("1.1", "half-configured"))), by_hand).kept("D20"),
        Section::report("The device has version 1.1, inactive", device(Some(("1.1", false))), by_hand).kept("D20"),
        Section::report("The device has version 1.1, active", device(Some(("1.1", true))), by_hand).kept("D20"),
    ]
}

fn ends() -> Vec<Section> {
    let by = |activation| Rules {
        activation,
        ..rules()
    };
    let end = |title, event| Section::report(title, event, of_end);
    let done = || ended(false, Some(found("2.0", false)));
    vec![
        end("The job ended well; the device has 2.0, inactive", done()),
        end("The same, by the policy `keep`", done()).by(by(ActivationPolicy::Keep)),
        end("The same, by the policy `always`", done()).by(by(ActivationPolicy::Always)),
        end("The same, the package is the agent's own", done()).by(own_rules()),
        end(
            "The job ended well; the device has 2.0, active",
            ended(false, Some(found("2.0", true))),
        ),
        end(
            "The job ended well; the device has 1.0, inactive",
            ended(false, Some(found("1.0", false))),
        ),
        end(
            "The job ended well; the device has nothing",
            ended(false, None),
        ),
        end(
            "The job failed; the device has 1.0, inactive",
            ended(true, Some(found("1.0", false))),
        ),
        end(
            "The job failed; the device has 2.0, active",
            ended(true, Some(found("2.0", true))),
        ),
        end(
            "The job failed; the device has 1.0, half-installed",
            ended(true, Some(damaged("1.0", "half-installed"))),
        ),
        end(
            "The job failed; the device has 2.0, half-configured",
            ended(true, Some(damaged("2.0", "half-configured"))),
        ),
        end(
            "The job failed; the device has 1.0, which wharfd never installed",
            ended(true, Some(foreign("1.0"))),
        ),
        end("The job failed; the device has nothing", ended(true, None)),
    ]
}

//! A server that observes once. After any crash, its last notification has the current value, and there was no new
//! Register.

use wharf_tests::{
    server::{RegistrationEvent, TestServer, format},
    waiting::wait_until,
};

use crate::line::GATEWAY_TIMEOUT;

/// Update Result and Update State.
const RESOURCES: [u16; 2] = [9, 7];

/// The observer of one instance.
pub(crate) struct Observer<'a> {
    server: &'a TestServer,
    instance: u16,
    /// The number of Registers when it observed.
    registers: usize,
    /// The values in the responses.
    first: Vec<String>,
}

impl<'a> Observer<'a> {
    /// Observes in spite of crashes of the agent. It repeats that if the agent registered again before it stored its
    /// registration.
    pub(crate) fn of(server: &'a TestServer, instance: u16) -> Self {
        let client = server.wait_for_client();
        let mut observer = Self {
            server,
            instance,
            registers: 0,
            first: Vec::new(),
        };
        while observer.registers != observer.registers_so_far() {
            observer.registers = observer.registers_so_far();
            let paths = RESOURCES.map(|resource| observer.path(resource));
            let observe = |path: &String| {
                let answered = wait_until("an answer to an Observe", || {
                    let response = client.observe(path);
                    (response.code != GATEWAY_TIMEOUT).then_some(response)
                });
                answered.expect("2.05").text()
            };
            observer.first = paths.iter().map(observe).collect();
        }
        observer
    }

    /// Waits until the last notification has the current value. Observe numbers must grow, since a server drops old
    /// ones.
    pub(crate) fn wait_until_told(&self) {
        let events = self.server.events();
        assert_eq!(self.registers, self.registers_so_far(), "{events:?}");
        let client = self.server.wait_for_client();
        for (resource, first) in RESOURCES.into_iter().zip(&self.first) {
            let path = self.path(resource);
            let mut told = first.clone();
            wait_until(&format!("{path} told as it is, after {told}"), || {
                let notified = self.server.story().into_iter().rev();
                let mut of_it = notified.filter(|(notified, _)| *notified == path);
                told = of_it.next().map_or(first.clone(), |(_, value)| value);
                let now = client.read_as(&path, format::TEXT);
                (now.code != GATEWAY_TIMEOUT && now.text() == told).then_some(())
            });
            self.assert_numbers_grow(&path);
        }
    }

    fn assert_numbers_grow(&self, path: &str) {
        let notified = self.server.notifications().into_iter();
        let of_it = notified.filter(|notified| notified.path == path);
        let numbers: Vec<_> = of_it.map(|notified| notified.response.observe).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{path}: {numbers:?}");
    }

    fn registers_so_far(&self) -> usize {
        let events = self.server.events().into_iter();
        events
            .filter(|event| matches!(event, RegistrationEvent::Registered(_)))
            .count()
    }

    fn path(&self, resource: u16) -> String {
        format!("/9/{}/{resource}", self.instance)
    }
}

//! The packages, and the features that each of them exercises.

/// A package of Debian.
#[derive(Debug)]
pub(crate) struct Real {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) units: Units,
    /// Whether it can be removed: it is not essential, and no other package needs it.
    pub(crate) removable: bool,
    /// Units that Activate starts, and apt's installation does not.
    pub(crate) starts: &'static [&'static str],
}

/// The state of the package on the device before its installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The device does not have it.
    New,
    /// The device has the same version.
    Same,
    /// The device has an older version, if the archive has two.
    Older,
}

/// The treatment of the package's units by wharfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Units {
    /// wharfd starts and stops them, or there are none.
    Own,
    /// wharfd never touches them, since the device needs them. Deactivate is refused.
    Exempt,
}

impl Real {
    /// `exercises` is for readers of the table.
    const fn of(name: &'static str, place: Place, _exercises: &'static str) -> Self {
        Self {
            name,
            place,
            units: Units::Own,
            removable: true,
            starts: &[],
        }
    }

    const fn exempt(mut self) -> Self {
        self.units = Units::Exempt;
        self
    }

    const fn stays(mut self) -> Self {
        self.removable = false;
        self
    }

    const fn starts(mut self, units: &'static [&'static str]) -> Self {
        self.starts = units;
        self
    }
}

const fn new(name: &'static str, exercises: &'static str) -> Real {
    Real::of(name, Place::New, exercises)
}

const fn same(name: &'static str, exercises: &'static str) -> Real {
    Real::of(name, Place::Same, exercises)
}

const fn older(name: &'static str, exercises: &'static str) -> Real {
    Real::of(name, Place::Older, exercises)
}

/// Files whose content differs between any two devices that created them: keys, times, process IDs.
pub(crate) const RANDOM: &[&str] = &[
    "/etc/ssh/ssh_host_",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/etc/aliases.db",
    "/etc/bind/rndc.key",
    "/etc/mdadm/mdadm.conf",
    "/var/cache/bind/managed-keys.bind",
    "/var/lib/fail2ban/fail2ban.sqlite3",
    "/var/lib/mosquitto/mosquitto.db",
    "/var/lib/postfix/master.lock",
    "/var/lib/redis/dump.rdb",
    "/var/lib/snmp/snmpd.conf",
    "/var/spool/postfix/etc/ssl/certs/ssl-cert-snakeoil.pem",
    "/var/spool/postfix/pid/",
];

/// Units that are down, stopped or failed by chance. The end of watchdog.service starts wd_keepalive.service, which writes to
/// a folder of sysvinit: it fails where there is none, unless it is stopped before.
pub(crate) const STOPPED_OR_FAILED: [&str; 1] = ["wd_keepalive.service"];

/// The packages of the short run, which cover the most.
pub(crate) const SAMPLE: [&str; 6] = [
    "avahi-daemon",
    "cron",
    "openssh-server",
    "rsyslog",
    "smartmontools",
    "vim-tiny",
];

/// All packages, in the order of the run.
#[rustfmt::skip]
pub(crate) const ALL: &[Real] = &[
    // present before
    same("cron", "a running service, conffiles below /etc/cron.*"),
    older("rsyslog", "an upgrade of a running service, its alias syslog.service, syslog.socket"),
    same("logrotate", "a timer whose service runs by the clock"),
    same("openssh-server", "a protected service, ssh.socket, debconf, ucf, a user").exempt(),
    same("dbus", "a protected package, D-Bus itself").exempt().stays(),
    same("udev", "a protected package, rules, a dpkg trigger, an init script beside units").exempt().stays(),
    same("ifupdown", "the network of the device: networking.service, templates").exempt(),
    same("kmod", "another name of a unit of systemd, an init script of that name").exempt().stays(),
    same("procps", "another name of a unit of systemd, sysctl").exempt().stays(),
    same("e2fsprogs", "timers and oneshots with conditions, a template, Pre-Depends").stays(),
    same("dash", "an essential package, a diversion, Pre-Depends, debconf").stays(),
    same("libc-bin", "an essential package, the trigger of ldconfig").stays(),
    older("tzdata", "an upgrade without units, debconf with answers that are computed"),
    older("ca-certificates", "an upgrade whose trigger writes files below /etc/ssl, debconf"),
    // new packages
    new("chrony", "a service with a user, conffiles by ucf, a conflict with systemd-timesyncd, an alias"),
    new("ntpsec", "a service, a timer, a user, a conflict with the package before it"),
    new("smartmontools", "a condition that no container meets, an alias, conffiles"),
    new("nginx", "no unit of its own; its service is nginx-common's"),
    new("dnsmasq", "a service that shares its files with an init script, a resolvconf unit"),
    new("avahi-daemon", "a socket, a D-Bus activated service with an alias, a user"),
    new("man-db", "a trigger, a timer, debconf, a user that exists, set-uid programs"),
    new("apt-listchanges", "debconf, a hook of apt that runs while wharfd installs"),
    new("postfix", "debconf, ucf, users, a template, a generator, files that its postinst writes"),
    new("fail2ban", "a service of Python that needs files of others, conffiles"),
    new("unattended-upgrades", "debconf, a hook of apt, a service that acts at shutdown"),
    new("sysstat", "two timers, a oneshot, debconf, by which its installation enables nothing, an alternative")
        .starts(&["sysstat.service", "sysstat-collect.timer", "sysstat-summary.timer"]),
    new("haveged", "a service with conditions on virtualization and kernel"),
    new("lighttpd", "a service with many conffiles and links that its postinst makes"),
    new("mosquitto", "a service with a user, a broker of things"),
    new("redis-server", "an alias redis.service, a template, a user, files of mode 0640"),
    new("memcached", "a service with a user that it makes by its own script"),
    new("snmpd", "a service, debconf, a user, an alias-less init script beside it"),
    new("tftpd-hpa", "an init script alone, debconf, a user"),
    new("vsftpd", "a service, a user, a folder below /srv"),
    new("bind9", "named.service with the alias bind9.service, debconf, a user, a key that it makes"),
    new("isc-dhcp-client", "no unit, hooks of the network, debconf"),
    new("vim-tiny", "alternatives alone"),
    new("openvpn", "templates, a target, debconf, a generator's instances"),
    new("wireguard-tools", "a template and a target, nothing that starts by itself"),
    // Its postinst overwrites $1 and enables nothing. systemd skips quotarpc.service where no rpcbind is.
    new("quota", "oneshots with conditions, debconf, an init script beside units")
        .starts(&["quota.service", "quotarpc.service"]),
    new("lvm2", "sockets, udev rules, units that systemd pulls in at boot"),
    new("mdadm", "timers, udev rules, debconf, templates, a masked init script"),
    new("nfs-common", "targets, mounts, users, a generator, an init script beside units"),
    new("hostapd", "a service that its own postinst masks"),
    new("molly-guard", "diversions of programs that systemd needs"),
    new("uuid-runtime", "a socket that starts a static service, a user"),
    new("at", "a service, a set-uid program, a spool of another owner"),
    new("watchdog", "two services of which one starts when the other stops, debconf"),
];

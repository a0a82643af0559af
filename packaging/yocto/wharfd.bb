SUMMARY = "LwM2M software-management agent for gateways"
DESCRIPTION = "Manages the packages of a gateway for a server of a fleet operator, by LwM2M Software Management 1.0.2."
HOMEPAGE = "https://wharfd.invalid"
BUGTRACKER = "https://wharfd.invalid/issues"
SECTION = "admin"
LICENSE = "MIT | Apache-2.0"
CVE_PRODUCT = "wharfd"
LIC_FILES_CHKSUM = "\
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://LICENSE-MIT;md5=d03f8f6a780541abc0efe18112d09b94 \
"

DEPENDS = "\
    clang-native \
    libseccomp \
    nettle \
    openssl \
    qemu-native \
    sqlite3 \
"

require wharfd-crates.inc

# Set it to your mirror of the sources.
WHARFD_GIT ?= "git://wharfd.invalid/wharfd.git;protocol=https;branch=main"
SRC_URI += "${WHARFD_GIT}"
SRCREV = "@SRCREV@"

inherit cargo features_check pkgconfig qemu

REQUIRED_DISTRO_FEATURES = "systemd"

# bindgen reads nettle's headers by it.
export LIBCLANG_PATH = "${STAGING_LIBDIR_NATIVE}"
# do_package strips the programs.
export CARGO_PROFILE_RELEASE_STRIP = "false"

# One invocation for each crate of programs, so that none gets the features of another.
do_compile() {
    for crate in wharfd wharfctl wharf-fetch wharf-inspect wharf-installers; do
        oe_cargo_build --package $crate --bins
    done
}

# As debian/rules does it: wharfctl writes its own completions.
do_install() {
    built=${B}/target/${CARGO_TARGET_SUBDIR}
    for shell in bash fish zsh; do
        ${@qemu_wrapper_cmdline(d, d.getVar('STAGING_DIR_HOST'), [d.getVar('STAGING_DIR_HOST') + d.getVar(it) for it in ('libdir', 'base_libdir')])} \
            $built/wharfctl completions $shell >$built/wharfctl.$shell
    done
    install -d ${CARGO_HOME}/registry/src
    ln -sfn ${CARGO_VENDORING_DIRECTORY} ${CARGO_HOME}/registry/src/vendored
    cd ${S}
    packaging/linked-crates >$built/linked-crates
    packaging/install $built ${D}
}

# The scripts of the .ipk. Those of systemd.bbclass would stop and disable the units in each upgrade.
python populate_packages:prepend() {
    import os

    def read(name):
        with open(os.path.join(d.getVar('S'), 'packaging', name)) as file:
            return file.read()

    for script in ('preinst', 'postinst', 'prerm', 'postrm'):
        text = read('ipk/' + script).replace('#RELEASE_UNITS#\n', read('release-units'))
        d.setVar('pkg_%s:%s' % (script, d.getVar('PN')), text)
}

FILES:${PN} += "\
    ${datadir} \
    ${nonarch_libdir} \
"

CONFFILES:${PN} = "\
    ${sysconfdir}/wharfd/installer.toml \
    ${sysconfdir}/wharfd/wharfd.toml \
"

RRECOMMENDS:${PN} += "\
    ca-certificates \
    dbus \
"

# fjmcp-broker: `make help` lists the targets.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
VERSION ?= $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
ARCH    ?= $(shell dpkg --print-architecture)
DEB     := dist/fjmcp-broker_$(VERSION)_$(ARCH).deb

PREFIX  ?= /usr
DESTDIR ?=
UNITDIR ?= $(shell pkgconf --variable=systemdsystemunitdir systemd)

VERSION_PKG := github.com/fjmcp/fjmcp-broker/internal/daemon/version
GO_BUILD = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false \
	-ldflags "-s -w -X $(VERSION_PKG).Version=$(VERSION) -X $(VERSION_PKG).Commit=$(COMMIT)"
BIN      ?= bin
PROGRAMS := fjmcp-broker fjmcp-launcher fjmcp-session fjmcpctl

.PHONY: help build install deb reproducible release fixture lintian deps test conformance fuzz e2e attack soak crowd abandoned bench starts bench-programs run demo image image-archive image-run lint clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		awk -F '|' '{ printf "make %-13s %s\n", $$1, $$2 }'

build: ## build the four programs into bin/ (BIN=)
	mkdir -p $(BIN)
	$(GO_BUILD) -o $(BIN)/ $(addprefix ./cmd/,$(PROGRAMS))

install: build ## install under DESTDIR= (debian/rules calls this)
	@test -n "$(UNITDIR)" || { echo "cannot find systemd's unit directory: install pkgconf and systemd (Debian 13: systemd-dev), or give UNITDIR=" >&2; exit 1; }
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/sbin bin/fjmcp-broker
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/fjmcpctl
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/libexec/fjmcp bin/fjmcp-launcher bin/fjmcp-session
	cd units && find . -type f ! -name '*.go' -exec install -D -m 0644 {} $(DESTDIR)$(UNITDIR)/{} \;
	install -D -m 0644 packaging/sysusers.d/fjmcp.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/fjmcp.conf
	install -D -m 0644 packaging/tmpfiles.d/fjmcp.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/fjmcp.conf
	install -D -m 0644 packaging/journald.conf $(DESTDIR)$(PREFIX)/lib/systemd/journald@fjmcp.conf.d/10-fjmcp.conf
	install -D -m 0644 packaging/fjmcp-broker.catalog $(DESTDIR)$(PREFIX)/lib/systemd/catalog/fjmcp-broker.catalog
	install -D -m 0644 packaging/broker.env $(DESTDIR)/etc/fjmcp/broker.env
	packaging/empty-root $(DESTDIR)/var/lib/fjmcp-session-root
	packaging/empty-root $(DESTDIR)/var/lib/fjmcp-broker-root
	for page in packaging/man/*.[158]; do \
		install -D -m 0644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}; \
	done
	GO=$(GO) packaging/completions $(DESTDIR)$(PREFIX)/share

# What is in the package: the tree's files, and of which commit they are. Their record
# tells of a file that is gone.
SOURCES := $(filter-out %_test.go,$(wildcard $(shell \
	git ls-files --cached --others --exclude-standard 2>/dev/null || find . -type f ! -path './bin/*' ! -path './dist/*' ! -path './.git/*' -printf '%P\n')))

CONTENTS := $(strip $(COMMIT) $(SOURCES))
ifneq ($(strip $(file <dist/contents)),$(CONTENTS))
.PHONY: dist/contents
endif
dist/contents:
	@mkdir -p dist
	@echo '$(CONTENTS)' >$@

$(DEB): $(SOURCES) dist/contents
	@.ci/deps build
	VERSION=$(VERSION) COMMIT=$(COMMIT) packaging/build-deb dist $(ARCH)

deb: $(DEB) ## build dist/fjmcp-broker_<version>_<arch>.deb, if it is not current; ARCH=arm64 for another architecture
	@ls -l $(DEB)

reproducible: deb ## build the package once more, elsewhere and otherwise, and compare
	VERSION=$(VERSION) COMMIT=$(COMMIT) packaging/reproducible $(DEB)

# RELEASE= is where to, APT= an apt repository to add to, PODMAN= does without the image,
# IMAGE_FLAGS= are make image's, DIRTY=1 takes what is not committed.
RELEASE  ?= dist/release
RELEASED := amd64 arm64
release: ## what is published of a version, for amd64 and arm64, into dist/release; SIGN_KEY= of gpg signs it
	@test -n "$(DIRTY)" || test -z "$$(git status --porcelain)" || { echo "not everything is committed, so no commit would have what is released: commit, or DIRTY=1" >&2; exit 1; }
	@.ci/deps release
	@test "$(RELEASE)" != dist/release || rm -rf dist/release
	@test -z "$$(ls -A $(RELEASE) 2>/dev/null)" || { echo "$(RELEASE) is not empty" >&2; exit 1; }
	mkdir -p $(RELEASE)
	for arch in $(RELEASED); do $(MAKE) --no-print-directory deb ARCH=$$arch; done
	@if test -n "$(PODMAN)" && command -v $(PODMAN) >/dev/null; then \
		$(MAKE) --no-print-directory image-archive; else echo "no image archive: there is no Podman" >&2; fi
	APT=$(APT) SIGN_KEY=$(SIGN_KEY) packaging/release $(RELEASE) $(foreach arch,$(RELEASED),dist/fjmcp-broker_$(VERSION)_$(arch).deb)
	@ls -l $(RELEASE)

fixture: ## a database of the version in debian/changelog, for the tests of later ones
	$(GO) test -count=1 -run '^TestReleasedDatabases$$' ./internal/store/ -write-fixture

lintian: deb ## check the package
	@.ci/deps lint
	lintian --pedantic --fail-on error,warning,info,pedantic --suppress-tags bad-distribution-in-changes-file $(DEB)

test: ## all tests; as root also those that need a container, and their Debian packages
	@.ci/deps test
	@$(GO) build -o bin/testlog ./internal/tools/testlog
	@command -v gcc >/dev/null || echo "without the race detector, which needs a C compiler" >&2
	$(GO) test -json $$(command -v gcc >/dev/null && echo -race) -count=1 -timeout=90m $(TESTFLAGS) ./... | bin/testlog $(if $(CI),-strict)

conformance: ## the MCP conformance suite through the broker, as a table
	@.ci/deps test
	$(GO) test -count=1 -v -run '^TestConformance$$' ./internal/test/conformance/

e2e: ## the installed package in a Debian 12 container (root)
	@.ci/deps test
	@$(GO) build -o bin/testlog ./internal/tools/testlog
	$(GO) test -json -count=1 $(TESTFLAGS) ./internal/test/e2e/... | bin/testlog -strict

attack: ## the installed package under attack, on Debian 12 and 13, as a table (root)
	@.ci/deps test
	@mkdir -p dist && rm -f dist/attack.tap
	@status=0; FJMCP_ATTACK_TAP=$(CURDIR)/dist/attack.tap $(GO) test -count=1 -timeout 60m $(TESTFLAGS) ./internal/test/attack/ || status=$$?; \
		cat dist/attack.tap; exit $$status

soak: ## clients of every kind for FJMCP_SOAK= (30m) against the installed package (root)
	@.ci/deps test
	FJMCP_SOAK=$(or $(FJMCP_SOAK),30m) $(GO) test -count=1 -v -timeout 24h -run '^TestE2ESoak$$' ./internal/test/e2e/

crowd: ## FJMCP_E2E_CROWD= (1000) live sessions at once, in place of the 420 of make test (root)
	@.ci/deps test
	FJMCP_E2E_CROWD=$(or $(FJMCP_E2E_CROWD),1000) $(GO) test -count=1 -v -timeout 24h -run '^TestE2ECrowd$$' ./internal/test/e2e/

abandoned: ## FJMCP_E2E_ABANDONED= (1000) clients that vanish, in place of the 150 of make test (root)
	@.ci/deps test
	FJMCP_E2E_ABANDONED=$(or $(FJMCP_E2E_ABANDONED),1000) $(GO) test -count=1 -v -timeout 24h -run '^TestE2EAbandoned$$' ./internal/test/e2e/

fuzz: ## every fuzz target in turn, FUZZTIME= each (30s)
	.ci/fuzz $(FUZZTIME)

# BENCH_HTTP= names further baselines, name=URL[,name=URL]; ROUNDS= and BENCHTIME=
# shorten or lengthen the two halves. See docs/benchmarks.md.
ROUNDS    ?= 10
BENCHTIME ?= 1s
bench: build bench-programs ## the broker beside other ways to the same server, then go test -bench
	@.ci/deps bench
	bin/bench -rounds $(ROUNDS) -http "$(BENCH_HTTP)" -child "$(FJMCP_TEST_FORGEJO_MCP)"
	@$(MAKE) --no-print-directory starts
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) \
		$$(grep -rl --include='*_test.go' '^func Benchmark' internal | xargs -n1 dirname | sort -u | sed 's|^|./|')

# As root: the package in a container. Else it says that it was skipped.
START_ROUNDS ?= 30
CROWD        ?= 1000
starts: bench-programs ## bench's part about starts under systemd alone (root)
	@.ci/deps test
	@test "$$(id -u)" != 0 || $(MAKE) --no-print-directory deb
	bin/bench -rounds $(START_ROUNDS) -deb $(DEB) -child "$(FJMCP_TEST_FORGEJO_MCP)"
	bin/bench -crowd $(CROWD) -deb $(DEB)

bench-programs:
	$(GO_BUILD) -o bin/bench ./internal/tools/bench
	$(GO_BUILD) -o bin/bench-child -ldflags "-s -w -X main.more=130" ./internal/test/fakemcp

run: build ## broker, fake forge and one login; ONCE=1 ends after it, FORGEJO_MCP=path for the real backend, POLICY=path for a policy
	$(GO) build -o bin/try ./internal/tools/try
	$(GO_BUILD) -o bin/fjmcp-standin ./internal/test/fakemcp
	exec bin/try $(if $(ONCE),-once) $(if $(FORGEJO_MCP),-forgejo-mcp $(FORGEJO_MCP)) $(if $(POLICY),-policy $(POLICY))

demo: deb ## the package installed in a container, port forwarded (root); ONCE=1 ends after one call
	@.ci/deps test
	$(GO) build -o bin/try ./internal/tools/try
	$(GO_BUILD) -o bin/fjmcp-standin ./internal/test/fakemcp
	exec bin/try -deb $(DEB) $(if $(ONCE),-once) $(if $(FORGEJO_MCP),-forgejo-mcp $(FORGEJO_MCP))

PODMAN      ?= podman
IMAGE       ?= localhost/fjmcp-broker
IMAGE_FLAGS ?=
RUN_FLAGS   ?=
IMAGE_ENV   ?= packaging/podman/fjmcp-broker.env
image: ## the container image, with Podman; IMAGE_FLAGS= for podman build, see docs/deploy-podman.md
	$(PODMAN) build --format docker -f packaging/podman/Containerfile --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) \
		$(IMAGE_FLAGS) -t $(IMAGE):$(VERSION) -t $(IMAGE):latest .

image-archive: image ## the container image as a file that podman load takes, into dist/release
	mkdir -p $(RELEASE)
	$(PODMAN) save --quiet --format docker-archive --output $(RELEASE)/fjmcp-broker_$(VERSION)_$(ARCH)_image.tar $(IMAGE):$(VERSION)

image-run: ## the image in a container, as the Quadlet runs it; RUN_FLAGS= for podman run
	$(PODMAN) run --detach --replace --name fjmcp-broker --env-file $(IMAGE_ENV) \
		--secret forgejo-client-secret,uid=65532,gid=65532,mode=0400 --secret store-key,uid=65532,gid=65532,mode=0400 \
		--volume fjmcp-state:/data --publish 127.0.0.1:8080:8080 \
		--read-only --cap-drop all --security-opt no-new-privileges --init --pids-limit 4096 --stop-timeout 40 \
		$(RUN_FLAGS) $(IMAGE):latest

lint: ## gofmt, go vet, staticcheck, govulncheck
	.ci/lint

clean: ## remove what was built
	rm -rf bin dist

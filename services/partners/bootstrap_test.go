package partners

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
)

const (
	platformOrg = "organizations/0192d7a5-0000-7000-8000-0000000000aa"
	memberOrg   = "organizations/0192d7a5-0000-7000-8000-0000000000bb"
	umbrellaOrg = "organizations/0192d7a5-0000-7000-8000-0000000000cc"
)

func bootstrapYAML(t *testing.T, key jose.JSONWebKey) string {
	t.Helper()
	return `
organizations:
  - name: ` + memberOrg + `
    kind: NONPROFIT
    display_name: Vida Después
    languages: [es]
    parent: ` + umbrellaOrg + `
  - name: ` + umbrellaOrg + `
    kind: UMBRELLA
    displayName: Alliance
  - name: ` + platformOrg + `
    kind: PLATFORM
    display_name: Operations
clients:
  - name: apiClients/operator
    organization: ` + platformOrg + `
    display_name: First client
    scopes: [partners.read, partners.write]
    jwks: ` + string(keySet(t, key)) + "\n"
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	c := &credentials{id: "operator", kid: "k1", key: newKey(t)}
	file := filepath.Join(t.TempDir(), "bootstrap.yaml")
	if err := os.WriteFile(file, []byte(bootstrapYAML(t, jose.JSONWebKey{Key: c.key.Public(), KeyID: c.kid})), 0o600); err != nil {
		t.Fatal(err)
	}
	s := setup(t, nil, func(config *chassis.Config) { config.BootstrapFile = file })
	if token := s.token(t, c, "partners.write"); token == "" {
		t.Error("the first client got no token")
	}
	child, err := s.GetOrganization(platform(t), &partnersv1.GetOrganizationRequest{Name: memberOrg})
	if err != nil || child.GetParent() != umbrellaOrg || child.GetTimeZone() != "UTC" {
		t.Errorf("the child that stands before its umbrella: %v, %v", child, err)
	}

	// What was changed since and is not in the file stays; what is in the file comes back.
	mask := func(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }
	if _, err := s.UpdateApiClient(platform(t), &partnersv1.UpdateApiClientRequest{
		ApiClient: &partnersv1.ApiClient{Name: "apiClients/operator", Disabled: true, DisplayName: "Renamed"}, UpdateMask: mask("disabled", "display_name"),
	}); err != nil {
		t.Fatal(err)
	}
	b, err := ReadBootstrap(file)
	if err != nil {
		t.Fatal(err)
	}
	again := replica(t, s)
	for range 2 {
		if err := again.bootstrap(auth.System(t.Context(), Name), b); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.GetApiClient(platform(t), &partnersv1.GetApiClientRequest{Name: "apiClients/operator"})
	if err != nil || !got.GetDisabled() || got.GetDisplayName() != "First client" || got.GetEtag() != `"3"` {
		t.Errorf("after another start: %v, %v; want it renamed back once, and still disabled", got, err)
	}

	encoded, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	reread, err := parseBootstrap(encoded)
	if diff := cmp.Diff(b, reread, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("written and read again: %v (-want +got):\n%s", err, diff)
	}
}

func TestBootstrapAtOnce(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	b, err := parseBootstrap([]byte(bootstrapYAML(t, jose.JSONWebKey{Key: newKey(t).Public(), KeyID: "k"})))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 5 {
		r := replica(t, s)
		all.Go(func() {
			if err := r.bootstrap(auth.System(t.Context(), Name), b); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestReadBootstrapRefuses(t *testing.T) {
	t.Parallel()
	good := bootstrapYAML(t, jose.JSONWebKey{Key: newKey(t).Public(), KeyID: "k"})
	for name, tc := range map[string]struct{ file, says string }{
		"unknown list":  {good + "customers: []\n", "customers"},
		"unknown field": {strings.Replace(good, "languages:", "colours:", 1), "colours"},
		"bad name":      {strings.Replace(good, memberOrg, "organizations/vida", 1), "name"},
		"bad scope":     {strings.Replace(good, "partners.read", "everything", 1), "scopes"},
		"no YAML":       {"organizations: [", "yaml"},
		"no list":       {"organizations: 7", "organizations"},
	} {
		if _, err := parseBootstrap([]byte(tc.file)); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v; want it refused because of %s", name, err, tc.says)
		}
	}
	if b, err := parseBootstrap(nil); err != nil || b.Organizations != nil || b.Clients != nil {
		t.Errorf("an empty file: %v, %v; want nothing", b, err)
	}
	s := setup(t, nil)
	noKeys, err := parseBootstrap([]byte(good[:strings.Index(good, "    jwks:")]))
	if err != nil {
		t.Fatal(err)
	}
	if err := replica(t, s).bootstrap(auth.System(t.Context(), Name), noKeys); err == nil || !strings.Contains(err.Error(), "apiClients/operator") || !strings.Contains(err.Error(), "jwks") {
		t.Errorf("a client without keys: %v; want the client and the field named", err)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	s.client(t, o, "ehr", "groups.read")
	for _, name := range []string{"One", "Two", "Two"} {
		if _, err := s.UpdateOrganization(platform(t), &partnersv1.UpdateOrganizationRequest{Organization: &partnersv1.Organization{Name: o.GetName(), DisplayName: name}}); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := s.DBs[Name].Query(t.Context(), `SELECT type || ' ' || subject || ' ' || revision FROM outbox ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for rows.Next() {
		var e string
		if err := rows.Scan(&e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []string{
		"care.cairn.partners.organization.created.v1 " + o.GetName() + " 1",
		"care.cairn.partners.api_client.created.v1 apiClients/ehr 1",
		"care.cairn.partners.organization.updated.v1 " + o.GetName() + " 2",
		"care.cairn.partners.organization.updated.v1 " + o.GetName() + " 3",
	}
	if err := rows.Err(); err != nil || !slices.Equal(got, want) {
		t.Errorf("events %v, %v; want %v", got, err, want)
	}
}

func TestDatabaseHoldsNoPrivateKey(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	rows, err := s.DBs[Name].Query(t.Context(), `SELECT kid, sealed FROM signing_keys`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var kid string
		var sealed []byte
		if err := rows.Scan(&kid, &sealed); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed, []byte("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01")) { // the OID of EC keys, in every PKCS #8 file of one
			t.Errorf("key %s lies open in the database", kid)
		}
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
}

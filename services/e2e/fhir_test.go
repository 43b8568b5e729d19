package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cairn.care/services/chassis"
)

// ehr is a system with a key of its own that speaks FHIR by fhir-kit-client: tools/ehr/loop.mjs.
type ehr struct {
	w         *world
	node, key string // the program, and a file
	id        string // OAuth client id
	group     string // to which it refers
}

// newEHR registers a system of the caller's organization that may do everything over FHIR.
func newEHR(t *testing.T, c *caller, group string) *ehr {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no Node for fhir-kit-client")
	}
	if _, err := os.Stat("../../tools/node_modules/fhir-kit-client"); err != nil {
		t.Skip("fhir-kit-client is not in tools/node_modules (npm --prefix tools install --no-save)")
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	e := &ehr{w: c.w, node: node, key: filepath.Join(t.TempDir(), "key.pem"), id: "ehr-" + uuid.NewString(), group: strings.TrimPrefix(group, "groups/")}
	if err := os.WriteFile(e.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "ehr-1", Use: "sig", Algorithm: "RS384"}}})
	if err != nil {
		t.Fatal(err)
	}
	c.w.app.post(t, "/v1/apiClients?apiClientId="+e.id, obj{
		"organization": c.org, "displayName": "EHR", "scopes": list{"system/*.cruds"}, "jwks": json.RawMessage(jwks),
	}).ok(t)
	return e
}

// start starts the system in a role.
func (e *ehr) start(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.CommandContext(ctx, e.node, append([]string{"../../tools/ehr/loop.mjs"}, args...)...)
	cmd.Env = append(os.Environ(), "FHIR_URL="+e.w.url+"/fhir/R4", "CLIENT_ID="+e.id, "KEY="+e.key, "KID=ehr-1", "GROUP="+e.group)
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

func (e *ehr) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd, out := e.start(ctx, args...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("loop.mjs %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out.String())
}

// TestFHIRClient goes from a key to the closed loop with a client library that is not ours, on both sides: the hospital's EHR
// refers in one transaction and follows by polling, the nonprofit's system takes it on and reports.
func TestFHIRClient(t *testing.T) {
	t.Parallel()
	address := freeAddr(t)
	w := newWorld(t, func(c *chassis.Config) { c.HTTP, c.PublicURL = address, "http://"+address })
	hospital, nonprofit := w.hospital(t, "Bayou Regional"), w.nonprofit(t, "Puentes")
	group := nonprofit.openGroup(t)
	refers, receives := newEHR(t, hospital, group), newEHR(t, nonprofit, group)
	id := refers.run(t, "refer")
	sent := hospital.get(t, "/v1/referrals/"+id).ok(t)
	for path, want := range map[string]string{"state": "SENT", "requestedGroup": group, "ownerOrganization": nonprofit.org, "subject.familyName": "Example", "distress": "5"} {
		if sent.text(path) != want {
			t.Errorf("sent: %s is %q, want %q", path, sent.text(path), want)
		}
	}
	follower, followed := refers.start(t.Context(), "follow", id)
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	if got := receives.run(t, "receive", id); got != "asked to help Luz Example (Z85.3), phone +17135550143" {
		t.Errorf("the nonprofit read %q", got)
	}
	if err := follower.Wait(); err != nil {
		t.Fatalf("follow: %v\n%s", err, followed)
	}
	if got := followed.String(); !strings.HasSuffix(got, "completed\nit was requested, accepted, in-progress, completed\nShe will come again.\n") {
		t.Errorf("the hospital followed\n%s", got)
	}
	closed := hospital.get(t, "/v1/referrals/"+id).ok(t)
	if closed.text("state") != "COMPLETED" || closed.text("outcome.distressChange") != "-3" {
		t.Errorf("closed: %s", closed.body)
	}
}

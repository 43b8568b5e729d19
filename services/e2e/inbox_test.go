package e2e_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// inbox receives webhooks over TLS, and keeps all that comes.
type inbox struct {
	url  string
	cert string // file with the certificate that the sender must trust
	came chan *posted
	syncBuffer
}

// posted is one request to an inbox.
type posted struct {
	path   string
	header http.Header
	body   []byte
}

func receive(t *testing.T) *inbox {
	t.Helper()
	in := &inbox{cert: filepath.Join(t.TempDir(), "inbox.pem"), came: make(chan *posted, 10_000)}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = fmt.Fprintf(in, "%s %s %v %s\n", r.Method, r.URL, r.Header, body)
		}
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		in.came <- &posted{path: r.URL.Path, header: r.Header.Clone(), body: body}
	}))
	t.Cleanup(server.Close)
	in.url = server.URL
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(in.cert, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	return in
}

// next returns the next request.
func (in *inbox) next(t *testing.T) *posted {
	t.Helper()
	select {
	case p := <-in.came:
		return p
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was sent")
		return nil
	}
}

// notification is what a FHIR Subscription was told.
type notification struct {
	*posted

	kind, status, subscription, number, focus string
	resources                                 int // that came with it, beside the status
}

// notification reads the next request as a notification of the R5 backport.
func (in *inbox) notification(t *testing.T) notification {
	t.Helper()
	n := notification{posted: in.next(t)}
	var bundle struct {
		Entry []struct {
			Resource json.RawMessage
		}
	}
	if err := json.Unmarshal(n.body, &bundle); err != nil || len(bundle.Entry) == 0 {
		t.Fatalf("%s: %v", n.body, err)
	}
	for _, e := range bundle.Entry[1:] {
		if e.Resource != nil {
			n.resources++
		}
	}
	var status any
	if err := json.Unmarshal(bundle.Entry[0].Resource, &status); err != nil {
		t.Fatalf("%s: %v", n.body, err)
	}
	parameters, _ := dig(status, "parameter").([]any)
	for _, p := range parameters {
		switch dig(p, "name") {
		case "subscription":
			n.subscription = text(dig(p, "valueReference.reference"))
		case "type":
			n.kind = text(dig(p, "valueCode"))
		case "status":
			n.status = text(dig(p, "valueCode"))
		case "events-since-subscription-start":
			n.number = text(dig(p, "valueString"))
		case "notification-event":
			parts, _ := dig(p, "part").([]any)
			for _, part := range parts {
				if dig(part, "name") == "focus" {
					n.focus = text(dig(part, "valueReference.reference"))
				}
			}
		}
	}
	return n
}

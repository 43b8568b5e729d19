package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"cairn.care/services/chassis/embedded"
)

// What is planted in everything that is written of a person, and in what only members get to see.
const (
	person  = "quetzalcanary" // in names, addresses, notes, identifiers
	number  = "5550177934"    // in telephone numbers
	private = "zimmercanary"  // in what is kept readable for those who may: links, aliases, who leads
)

// TestCanary plants names, e-mail addresses, telephone numbers, identifiers, notes and tokens in
// a Cairn that is a process of its own, and looks for them in all that it leaves behind: tables,
// files, events, logs, metrics and traces.
func TestCanary(t *testing.T) {
	t.Parallel()
	dir, logs := shortDir(t), new(syncBuffer)
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	postgres, err := embedded.StartPostgres(t.Context(), dir+"/postgres", log, embedded.Throwaway())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Stop(); err != nil {
			t.Error(err)
		}
	})
	broker, err := embedded.StartNATS(t.Context(), dir+"/nats", log, embedded.Listen("127.0.0.1", -1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	collector := collect(t)
	w, bootstrap := prepareWorld(t)
	httpAddr, grpcAddr := freeAddr(t), freeAddr(t)
	w.url, w.grpcAddr = "http://"+httpAddr, grpcAddr
	in := receive(t)
	cairn := runWith(t, []string{"SSL_CERT_FILE=" + in.cert}, "cairn", "--allow-private-outbound", "--data-dir", dir+"/data", "--http", httpAddr, "--grpc", grpcAddr, "--postgres-url", postgres.URL(), "--nats-url", broker.URL(),
		"--bootstrap-file", bootstrap, "--log-level", "debug", "--otlp-endpoint", "http://"+collector.addr, "--trace-ratio", "1")
	cairn.ready(t, http.DefaultClient, w.url)

	referral, membership, secrets, events, refused := w.plant(t, in)
	metrics := w.send(t, http.MethodGet, "/metrics", nil).ok(t).body
	if err := cairn.stop(t); err != nil {
		t.Errorf("stop: %v", err)
	}

	people := append(forms(person), forms(number)...)
	hidden := append(forms(private), people...)
	for _, s := range secrets {
		people, hidden = append(people, s), append(hidden, s)
	}
	_, id, _ := strings.Cut(referral, "/")
	_, place, _ := strings.Cut(membership, "/")
	tables := dump(t, postgres.URL())
	expect(t, "the tables", tables, people, id, place, private)
	expect(t, "the events", streams(t, broker.URL()), hidden, referral, membership)
	expect(t, "the webhooks", in.all(), hidden, "Webhook-Signature")
	expect(t, "the event log as it is told", events, hidden, referral)
	expect(t, "the refusals of FHIR", refused, people, "OperationOutcome")
	expect(t, "the logs", cairn.out.all(), hidden, "ReferralService/CreateReferral", "level=DEBUG")
	expect(t, "the logs of PostgreSQL and NATS", logs.all(), hidden)
	expect(t, "the metrics", metrics, hidden, "ReferralService/CreateReferral")
	expect(t, "the traces, logs and metrics that are sent away", collector.all(), hidden, "ReferralService/CreateReferral", "/v1/referrals")
	expect(t, "the files", files(t, dir), people, id)
}

// plant has people referred, placed, kept and let go, with the canaries wherever a caller can
// write. It returns a referral and a membership, and the tokens that were used.
func (w *world) plant(t *testing.T, in *inbox) (referral, membership string, tokens []string, events, refused []byte) {
	t.Helper()
	hospital, nonprofit := w.hospital(t, "Bayou Regional"), w.nonprofit(t, "Puentes")
	callers := []*caller{w.app, hospital, nonprofit}
	for _, c := range callers {
		assertion := c.assertion(t, nil)
		c.ask(t, assertion, "groups.read").ok(t)
		c.ask(t, assertion, "groups.read").want(t, http.StatusUnauthorized, "") // once only
		c.get(t, "/v1/groups:search").ok(t)
		tokens = append(tokens, assertion, c.token(t))
	}
	lead := nonprofit.post(t, "/v1/facilitators", obj{"displayName": private, "biography": private, "licence": obj{
		"profession": "Psychologist", "number": private, "jurisdiction": "US-TX", "expireDate": obj{"year": 2040, "month": 1, "day": 1},
	}}).ok(t)
	group := nonprofit.post(t, "/v1/groups", circle(seats(1), func(g obj) {
		g["online"] = obj{"platform": "Zoom", "joinUri": "https://" + private + ".example/join", "phone": private, "joinInstructions": private}
		g["facilitators"] = list{obj{"facilitator": lead.at("name"), "role": "LEAD"}}
	})).ok(t).text("name")
	series := nonprofit.post(t, "/v1/series", obj{
		"group": group, "rrule": "FREQ=WEEKLY", "timeZone": "UTC", "duration": "3600s",
		"localStart": w.now().UTC().Add(-10 * time.Minute).Format("2006-01-02T15:04:05"),
	}).ok(t).text("name")
	nonprofit.post(t, "/v1/"+group+":publish", obj{}).ok(t)
	session := nonprofit.get(t, "/v1/sessions?pageSize=1&filter="+q(`series = "`+series+`"`)).ok(t).text("sessions.0.name")

	planted := func(r obj) {
		r["subject"] = obj{
			"givenName": person, "familyName": person, "phone": "+1" + number, "email": person + "@example.org",
			"address":     obj{"addressLines": list{"1 " + person + " Lane"}, "locality": "Houston", "country": "US"},
			"identifiers": list{obj{"system": "urn:example:" + person, "value": person + uuid.NewString()}},
		}
	}
	note, key := obj{"note": person}, func() []string { return []string{"Idempotency-Key", uuid.NewString()} }
	send := func() string {
		return hospital.post(t, "/v1/referrals", w.person(group, planted), key()...).ok(t).text("name")
	}
	referral = send()
	membership = nonprofit.post(t, "/v1/"+referral+":accept", note, key()...).ok(t).text("membership")
	waiting := nonprofit.post(t, "/v1/"+send()+":accept", note, key()...).ok(t).text("membership")
	w.app.post(t, "/v1/"+membership+":acknowledgeGuidelines", obj{"version": 1}, key()...).ok(t)
	nonprofit.post(t, "/v1/"+session+":recordAttendance", obj{"entries": list{obj{"membership": membership, "status": "PRESENT"}}}, key()...).ok(t)
	hospital.becomes(t, referral, "ENGAGED")
	nonprofit.post(t, "/v1/"+referral+":complete", obj{"outcome": obj{"note": person, "helped": "YES"}, "note": person}, key()...).ok(t)
	nonprofit.post(t, "/v1/"+send()+":reject", obj{"reason": "OTHER", "note": person}, key()...).ok(t)
	hospital.post(t, "/v1/"+send()+":cancel", note, key()...).ok(t)
	draft := hospital.post(t, "/v1/referrals?draft=true", w.person(group, planted)).ok(t).text("name")
	hospital.do(t, http.MethodPatch, "/v1/"+draft, obj{"subject": obj{"givenName": person + " again"}}, key()...).ok(t)

	member := nonprofit.post(t, "/v1/members", obj{
		"alias": private, "role": "CAREGIVER", "legalName": person, "email": person + "@example.org", "phone": "+1" + number, "contactNote": person,
	}, key()...).ok(t).text("name")
	nonprofit.do(t, http.MethodPatch, "/v1/"+member, obj{"legalName": person + " again"}, key()...).ok(t)
	joined := nonprofit.post(t, "/v1/memberships", obj{"group": group, "member": member, "overrideReason": person}, key()...).ok(t).text("name")
	nonprofit.post(t, "/v1/"+joined+":decline", obj{"reason": "NOT_SUITABLE", "note": person}, key()...).ok(t)
	nonprofit.post(t, "/v1/"+waiting+":end", obj{"reason": "REMOVED", "note": person}, key()...).ok(t)
	nonprofit.get(t, "/v1/"+member).ok(t)
	nonprofit.get(t, "/v1/"+membership).ok(t)
	concern := nonprofit.post(t, "/v1/safetyConcerns", obj{
		"group": group, "membership": membership, "kind": "SELF_HARM_RISK", "severity": "URGENT", "description": person,
	}, key()...).ok(t)
	until(t, "the escalation is there", func() *reply { return nonprofit.get(t, "/v1/referrals?filter="+q(`state = SENT`)) },
		func(r *reply) bool { return bytes.Contains(r.body, []byte(concern.text("referral"))) })
	nonprofit.post(t, "/v1/"+concern.text("name")+":close", obj{"outcome": "SUPPORTED", "note": person}, key()...).ok(t)
	nonprofit.get(t, "/v1/"+nonprofit.get(t, "/v1/"+membership).ok(t).text("member")+":export").ok(t)

	// What is refused leaves no more behind than what is done.
	hospital.post(t, "/v1/referrals", w.person(group, planted, func(r obj) { r["subject"].(obj)["email"] = person })).want(t, http.StatusBadRequest, "INVALID_FIELD")
	hospital.post(t, "/v1/referrals", w.person(group, planted, func(r obj) { r[person] = person })).want(t, http.StatusBadRequest, "INVALID_FIELD")
	hospital.post(t, "/v1/referrals", `{"subject": {"givenName": "`+person+`"`).want(t, http.StatusBadRequest, "INVALID_FIELD")
	hospital.get(t, "/v1/referrals?filter="+q(`author = "`+person+`"`)).want(t, http.StatusBadRequest, "INVALID_FIELD")
	hospital.get(t, "/v1/referrals?filter="+q(`placer_number = "`+person+`"`)).ok(t)
	hospital.get(t, "/v1/"+person).want(t, http.StatusNotFound, "NO_SUCH_PATH")
	hospital.get(t, "/v1/referrals/"+person).want(t, http.StatusBadRequest, "INVALID_FIELD")
	nonprofit.post(t, "/v1/members", obj{"alias": private, "role": "PATIENT", "phone": person + "\x00"}).want(t, http.StatusBadRequest, "INVALID_FIELD")
	w.send(t, http.MethodGet, "/v1/members", nil, "Authorization", "Bearer "+tokens[1]+"x").want(t, http.StatusUnauthorized, "TOKEN_INVALID")
	events, refused = w.plantAtTheDoor(t, in, hospital, nonprofit, group)
	return referral, membership, tokens, events, refused
}

// forms are the ways in which a word might stand somewhere: as it is, as bytes print, in base64.
func forms(word string) []string {
	all := []string{word, strings.ToUpper(word), hex.EncodeToString([]byte(word)), strings.ToUpper(hex.EncodeToString([]byte(word)))}
	for shift := range 3 { // whatever stands before it
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + word))
		all = append(all, encoded[(shift*8+5)/6+1:len(encoded)-2])
	}
	return all
}

// expect looks for what must not be somewhere, and for what must, so that it is the right place.
func expect(t *testing.T, where string, held []byte, forbidden []string, wanted ...string) {
	t.Helper()
	for _, f := range forbidden {
		if i := bytes.Index(held, []byte(f)); i >= 0 {
			t.Errorf("%s hold %.40q: …%q…", where, f, held[max(0, i-120):min(len(held), i+80)])
		}
	}
	for _, f := range wanted {
		if !bytes.Contains(held, []byte(f)) {
			t.Errorf("%s do not hold %q: the test looks in the wrong place", where, f)
		}
	}
}

// dump copies every table of every service's database.
func dump(t *testing.T, url string) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, service := range []string{"partners", "groups", "membership", "scheduling", "referral"} {
		conn := connect(t, url, "cairn_"+service)
		for _, table := range tables(t, conn) {
			fmt.Fprintf(&out, "%s.%s\n", service, table)
			if _, err := conn.PgConn().CopyTo(t.Context(), &out, `COPY (SELECT * FROM `+pgx.Identifier{table}.Sanitize()+`) TO STDOUT`); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out.Bytes()
}

// streams reads every message of every stream.
func streams(t *testing.T, url string) []byte {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for seq := stream.CachedInfo().State.FirstSeq; seq <= stream.CachedInfo().State.LastSeq && seq > 0; seq++ {
			m, err := stream.GetMsg(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s %v %s\n", m.Subject, m.Header, m.Data)
		}
	}
	if names.Err() != nil {
		t.Fatal(names.Err())
	}
	return out.Bytes()
}

// files reads every file below a directory that is not a socket.
func files(t *testing.T, dir string) []byte {
	t.Helper()
	var out bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // PostgreSQL still runs, and tidies up
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		out.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sink takes in whatever is sent to an OTLP collector.
type sink struct {
	addr string
	syncBuffer
}

func collect(t *testing.T) *sink {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: lis.Addr().String()}
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var export emptypb.Empty // whose fields are unknown, and kept as they are
		if err := stream.RecvMsg(&export); err != nil {
			return err
		}
		raw, err := proto.Marshal(&export)
		if err != nil {
			return err
		}
		if _, err := s.Write(raw); err != nil {
			return err
		}
		return stream.SendMsg(&emptypb.Empty{})
	}))
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

// all is everything that was written.
func (s *syncBuffer) all() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/gateway"
	"cairn.care/services/internal/suitetest"
)

// Content larger than any body goes through, compressed or not; the same Idempotency-Key gives the same run.
func TestPushFeed(t *testing.T) {
	t.Parallel()
	var org string
	s := setup(t, func(o *gateway.Options) {
		made, err := partnersv1.NewPartnersServiceClient(o.Peer("partners")).CreateOrganization(suitetest.Platform(t.Context(), "partners.write"), &partnersv1.CreateOrganizationRequest{
			Organization: &partnersv1.Organization{DisplayName: "Circles", Kind: partnersv1.Organization_NONPROFIT, Languages: []string{"en"}, TimeZone: "UTC"},
		})
		if err != nil {
			t.Fatal(err)
		}
		org = made.GetName()
	})
	var feed bytes.Buffer
	const rows = 1000 // of more than the 64 KiB that a body may have
	for i := range rows {
		fmt.Fprintf(&feed, `%c{"name":"Circle %d","slug":"circle-%d","day":1,"time":"18:30","address":"1 Main St","city":"Kansas City","state":"MO","country":"US","types":["O"]}`, "[,"[min(i, 1)], i, i)
	}
	feed.WriteByte(']')
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(feed.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	owner := []string{"X-Test-Client", org + " groups.read groups.write"}
	name, ok := s.do("POST", "/v1/feeds", `{"format":"meeting-guide"}`, owner...).want(t, http.StatusOK).json["name"].(string)
	if !ok {
		t.Fatal("no feed was made")
	}
	key := uuid.NewString()
	push := func(query, content string, headers ...string) *reply {
		return s.do("POST", "/v1/"+name+":push"+query, content, append(headers, owner...)...)
	}
	raw := []string{"Content-Type", "application/octet-stream"}
	run := push("?dryRun=true", zipped.String(), append(raw, "Content-Encoding", "gzip")...).want(t, http.StatusOK)
	plain := push("", feed.String(), append(raw, "Idempotency-Key", key)...).want(t, http.StatusOK)
	again := push("", feed.String(), append(raw, "Idempotency-Key", key)...).want(t, http.StatusOK)
	if run.json["dryRun"] != true || plain.json["dryRun"] != false || plain.json["name"] != again.json["name"] || run.json["name"] == plain.json["name"] {
		t.Errorf("the runs are %s, %s and %s", run.body, plain.body, again.body)
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(time.Minute); plain.json["state"] != groupsv1.FeedRun_SUCCEEDED.String(); <-look.C {
		if plain = s.do("GET", fmt.Sprintf("/v1/%s", plain.json["name"]), "", owner...).want(t, http.StatusOK); time.Now().After(end) {
			t.Fatalf("the run never ended: %s", plain.body)
		}
	}
	if counts, ok := plain.json["counts"].(map[string]any); !ok || counts["created"] != fmt.Sprint(rows) {
		t.Errorf("the run ended as %s", plain.body)
	}

	push("", "x", append(raw, "Content-Encoding", "br")...).want(t, http.StatusUnsupportedMediaType)
	push("?dryRun=perhaps", "x", raw...).want(t, http.StatusBadRequest)
	push("", "", raw...).want(t, http.StatusBadRequest)
	s.do("POST", "/v1/feeds/"+uuid.NewString()+":push", "x", append(raw, owner...)...).want(t, http.StatusNotFound)
	s.do("POST", "/v1/"+name+":push", "x", raw...).want(t, http.StatusUnauthorized)
	s.do("POST", "/v1/"+name+":push", "x", append(raw, "X-Test-Client", org+" groups.read")...).want(t, http.StatusForbidden)
	if r := s.do("PATCH", "/v1/"+name, `{"maxRemovedPercent":40}`, owner...).want(t, http.StatusOK); r.json["maxRemovedPercent"] != 40.0 {
		t.Errorf("changed, the feed is %s", r.body)
	}
}

// Whoever may not push is told so before any of the content has come.
func TestPushFeedRefusedAtOnce(t *testing.T) {
	t.Parallel()
	s := setup(t)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST /v1/feeds/%s:push HTTP/1.1\r\nHost: cairn.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", uuid.NewString()); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the connection waits for the content: %v", err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("the answer is %s", answer.Status)
	}
}

package embedded_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cairn.care/services/chassis/embedded"
)

// startNATS starts a server that ends with the test.
func startNATS(t *testing.T, dir string, opts ...embedded.NATSOption) *embedded.NATS {
	t.Helper()
	n, err := embedded.StartNATS(within(t), dir, nil, opts...)
	if err != nil {
		t.Fatalf("StartNATS: %v", err)
	}
	t.Cleanup(n.Stop)
	return n
}

// openStream opens the stream S past the network, creating it if needed.
func openStream(t *testing.T, n *embedded.NATS) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	nc, err := n.Conn()
	if err != nil {
		t.Fatalf("Conn: %v", err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateOrUpdateStream(within(t), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	if err != nil {
		t.Fatalf("stream: %v", err)
	}
	return js, s
}

func TestNATSKeepsStreamsOverRestarts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "nats")
	n := startNATS(t, dir)
	js, _ := openStream(t, n)
	if _, err := js.Publish(t.Context(), "s.x", []byte("kept")); err != nil {
		t.Fatalf("publish: %v", err)
	}
	n.Stop()

	_, s := openStream(t, startNATS(t, dir))
	msg, err := s.GetMsg(t.Context(), 1)
	if err != nil || string(msg.Data) != "kept" {
		t.Errorf("after a restart: %v, %v, want the message", msg, err)
	}
}

func TestNATSListensOnlyIfAsked(t *testing.T) {
	t.Parallel()
	quiet := startNATS(t, t.TempDir())
	if nc, err := nats.Connect(quiet.URL()); err == nil {
		nc.Close()
		t.Errorf("connected to %q, want no listener", quiet.URL())
	}
	open := startNATS(t, t.TempDir(), embedded.Listen("127.0.0.1", -1))
	nc, err := nats.Connect(open.URL())
	if err != nil {
		t.Fatalf("connect to %s: %v", open.URL(), err)
	}
	nc.Close()
	if !strings.Contains(open.URL(), "127.0.0.1") {
		t.Errorf("it listens on %s, want 127.0.0.1", open.URL())
	}
}

func TestNATSRefusesAnUnusableDirectory(t *testing.T) {
	t.Parallel()
	if _, err := embedded.StartNATS(within(t), "/dev/null/nats", nil); err == nil {
		t.Error("StartNATS in /dev/null succeeded")
	}
}

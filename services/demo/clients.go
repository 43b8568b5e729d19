package demo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/partners"
)

// The demo clients.
const (
	Hospital  = "demo-hospital"  // of Bayou Regional Hospital
	Nonprofit = "demo-nonprofit" // of Puentes Cancer Support
	App       = "demo-app"       // of the platform: sees every organization
)

const (
	hospitalOrg = "organizations/0192d7a5-2000-7000-8000-000000000001"
	platformOrg = "organizations/0192d7a5-2000-7000-8000-000000000002"
)

// What each client may ask for.
var scopes = map[string][]string{
	Hospital:  {"referrals.read", "referrals.write", "groups.read", "partners.read", "schedule.read", "system/*.cruds"},
	Nonprofit: {"referrals.read", "referrals.write", "groups.read", "groups.write", "members.read", "members.write", "schedule.read", "schedule.write", "partners.read", "system/*.cruds"},
	App:       {"referrals.read", "referrals.write", "groups.read", "groups.write", "members.read", "members.write", "schedule.read", "schedule.write", "partners.read", "partners.write", "system/*.rs"},
}

// EnsureClients makes the demo clients' keys in dir, unless they are there, and returns the
// bootstrap file that registers the demo organizations and clients.
func EnsureClients(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("demo clients: %w", err)
	}
	d, err := readDirectory()
	if err != nil {
		return "", err
	}
	b := &partners.Bootstrap{Organizations: []*partnersv1.Organization{
		{Name: hospitalOrg, DisplayName: "Bayou Regional Hospital", Kind: partnersv1.Organization_HOSPITAL, Languages: []string{"en", "es"}, TimeZone: "America/Chicago", Verified: true},
		{Name: platformOrg, DisplayName: "Cairn", Kind: partnersv1.Organization_PLATFORM, Languages: []string{"en"}, TimeZone: "UTC", Verified: true},
	}}
	for _, o := range d.Organizations {
		var contact *partnersv1.Organization_Contact
		if o.Email != "" {
			contact = &partnersv1.Organization_Contact{Email: o.Email}
		}
		b.Organizations = append(b.Organizations, &partnersv1.Organization{
			Contact: contact,
			Name:    o.name(), DisplayName: o.Title, Languages: o.Languages, TimeZone: o.Zone, Verified: true,
			Kind: partnersv1.Organization_Kind(partnersv1.Organization_Kind_value[o.Kind]),
		})
	}
	for _, c := range []struct{ id, org, title string }{
		{Hospital, hospitalOrg, "Bayou Regional EHR"},
		{Nonprofit, d.org("puentes").name(), "Puentes directory and intake"},
		{App, platformOrg, "Cairn member and coordinator apps"},
	} {
		key, err := ensureKey(dir, c.id)
		if err != nil {
			return "", err
		}
		doc, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
		if err != nil {
			return "", fmt.Errorf("key of %s: %w", c.id, err)
		}
		jwks := new(structpb.Struct)
		if err := protojson.Unmarshal(doc, jwks); err != nil {
			return "", fmt.Errorf("key of %s: %w", c.id, err)
		}
		b.Clients = append(b.Clients, &partnersv1.ApiClient{
			Name: "apiClients/" + c.id, Organization: c.org, DisplayName: c.title, Scopes: scopes[c.id],
			Keys: &partnersv1.ApiClient_Jwks{Jwks: jwks},
		})
	}
	file, err := b.Encode()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, bootstrapFile)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return "", fmt.Errorf("demo clients: %w", err)
	}
	return path, nil
}

const bootstrapFile = "bootstrap.yaml"

// HasClients tells whether EnsureClients has ever made demo clients in the directory.
func HasClients(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, bootstrapFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("demo clients: %w", err)
	}
	return err == nil, nil
}

func keyPath(dir, client string) string { return filepath.Join(dir, client+".private.jwk") }

func ensureKey(dir, client string) (jose.JSONWebKey, error) {
	key, err := privateKey(dir, client)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return key, fmt.Errorf("key of %s: %w", client, err)
	}
	key = jose.JSONWebKey{Key: private, Algorithm: string(jose.ES384), Use: "sig"}
	thumb, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return key, fmt.Errorf("key of %s: %w", client, err)
	}
	key.KeyID = fmt.Sprintf("%x", thumb[:8])
	b, err := key.MarshalJSON()
	if err != nil {
		return key, fmt.Errorf("key of %s: %w", client, err)
	}
	return key, os.WriteFile(keyPath(dir, client), b, 0o600)
}

// privateKey reads the key of a demo client.
func privateKey(dir, client string) (jose.JSONWebKey, error) {
	var key jose.JSONWebKey
	if _, ok := scopes[client]; !ok {
		return key, fmt.Errorf("%q is no demo client: there are %s, %s and %s", client, Hospital, Nonprofit, App)
	}
	b, err := os.ReadFile(keyPath(dir, client))
	if err != nil {
		return key, fmt.Errorf("key of %s (made when Cairn first starts with demo clients on): %w", client, err)
	}
	if err := json.Unmarshal(b, &key); err != nil {
		return key, fmt.Errorf("key of %s: %w", client, err)
	}
	if _, ok := key.Key.(*ecdsa.PrivateKey); !ok || key.IsPublic() {
		return key, fmt.Errorf("key of %s is not a private ES384 key", client)
	}
	return key, nil
}

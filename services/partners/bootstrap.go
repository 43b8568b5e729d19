package partners

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"buf.build/go/protovalidate"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"gopkg.in/yaml.v3"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// Bootstrap is what an installation must have before anybody can call it: the platform's
// organization and its first client, or the demo's. At every start organizations and
// clients that are not there are made, and those that are get what is stated here; what
// is left out stays as it is, so that a client disabled since stays disabled.
type Bootstrap struct {
	Organizations []*partnersv1.Organization // each with its name, umbrellas among them in any order
	Clients       []*partnersv1.ApiClient    // each with its name and organization
}

// bootstrapFile is the file: resources written as REST has them, in YAML or JSON.
type bootstrapFile struct {
	Organizations []json.RawMessage `json:"organizations"`
	Clients       []json.RawMessage `json:"clients"`
}

// ReadBootstrap reads a YAML file with the lists "organizations" and "clients", whose
// entries are resources as the REST API has them. Unknown keys are refused.
func ReadBootstrap(path string) (*Bootstrap, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	b, err := parseBootstrap(raw)
	if err != nil {
		return nil, fmt.Errorf("bootstrap %s: %w", path, err)
	}
	return b, nil
}

func parseBootstrap(raw []byte) (*Bootstrap, error) {
	var tree map[string]any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return nil, err
	}
	doc, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	var f bootstrapFile
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	b := new(Bootstrap)
	for i, r := range f.Organizations {
		o := new(partnersv1.Organization)
		if err := decodeResource(r, o); err != nil {
			return nil, fmt.Errorf("organizations[%d]: %w", i, err)
		}
		b.Organizations = append(b.Organizations, o)
	}
	for i, r := range f.Clients {
		c := new(partnersv1.ApiClient)
		if err := decodeResource(r, c); err != nil {
			return nil, fmt.Errorf("clients[%d]: %w", i, err)
		}
		b.Clients = append(b.Clients, c)
	}
	return b, nil
}

func decodeResource(raw json.RawMessage, m proto.Message) error {
	if err := protojson.Unmarshal(raw, m); err != nil {
		return err
	}
	return protovalidate.Validate(m)
}

// Encode writes the file that ReadBootstrap reads.
func (b *Bootstrap) Encode() ([]byte, error) {
	var f bootstrapFile
	for _, o := range b.Organizations {
		raw, err := protojson.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", o.GetName(), err)
		}
		f.Organizations = append(f.Organizations, raw)
	}
	for _, c := range b.Clients {
		raw, err := protojson.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", c.GetName(), err)
		}
		f.Clients = append(f.Clients, raw)
	}
	return json.MarshalIndent(f, "", "  ")
}

// bootstrap makes or changes what b states, as the platform would.
func (s *service) bootstrap(ctx context.Context, b *Bootstrap) error {
	for _, parents := range []bool{true, false} {
		for _, o := range b.Organizations {
			if (o.GetParent() == "") != parents {
				continue
			}
			if err := s.putOrganization(ctx, proto.CloneOf(o)); err != nil {
				return fmt.Errorf("organization %q: %w", o.GetName(), err)
			}
		}
	}
	for _, c := range b.Clients {
		if err := s.putAPIClient(ctx, proto.CloneOf(c)); err != nil {
			return fmt.Errorf("client %q: %w", c.GetName(), err)
		}
	}
	return nil
}

func (s *service) putOrganization(ctx context.Context, o *partnersv1.Organization) error {
	id, err := aip.ParseName("name", organizations, o.GetName())
	if err != nil {
		return err
	}
	o.Etag = ""
	update := func() error {
		return s.db.Tx(ctx, func(tx pgx.Tx) error {
			_, err := s.updateOrganization(ctx, tx, id, o, nil)
			return err
		})
	}
	if err := update(); !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	_, err = s.insertOrganization(ctx, proto.CloneOf(o))
	if pg.Constraint(err) == "organizations_pkey" { // another replica was faster
		return update()
	}
	return err
}

func (s *service) putAPIClient(ctx context.Context, c *partnersv1.ApiClient) error {
	id, ok := strings.CutPrefix(c.GetName(), apiClients)
	if !ok {
		return fault.Invalid(fault.Field("name", "is required: apiClients/{client_id}"))
	}
	c.Etag = ""
	update := func() error {
		return s.db.Tx(ctx, func(tx pgx.Tx) error {
			_, err := s.updateAPIClient(ctx, tx, id, c, nil)
			return err
		})
	}
	if err := update(); !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	_, err := s.insertAPIClient(ctx, proto.CloneOf(c))
	if fault.From(err).Code() == codes.AlreadyExists { // another replica was faster
		return update()
	}
	return err
}

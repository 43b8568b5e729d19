// Package archive writes what a service holds about one person into the archive that she is given.
package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/pg"
)

// Writer adds documents of one service to an archive.
type Writer struct {
	service string
	send    func(*typev1.ArchiveEntry) error
}

// To returns a writer of what the service holds.
func To(service string, send func(*typev1.ArchiveEntry) error) *Writer {
	return &Writer{service: service, send: send}
}

// Add adds a resource as the API gives it; kind says what it is, and resource which it is or is about.
func (w *Writer) Add(kind, resource string, m proto.Message) error {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Errorf("write %s to the archive: %w", resource, err)
	}
	return w.add(kind, resource, raw)
}

// AddJSON is [Writer.Add] for what is no message.
func (w *Writer) AddJSON(kind, resource string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s to the archive: %w", resource, err)
	}
	return w.add(kind, resource, raw)
}

func (w *Writer) add(kind, resource string, raw []byte) error {
	document := new(structpb.Struct)
	if err := protojson.Unmarshal(raw, document); err != nil {
		return fmt.Errorf("write %s to the archive: %w", resource, err)
	}
	return w.send(&typev1.ArchiveEntry{Service: w.service, Kind: kind, Resource: resource, Document: document})
}

// access is one reading or change of a person's data, as the audit log has it. Who it was is told by the organization or the
// service: the people who work there are not hers to know.
type access struct {
	ID           int64     `json:"-"`
	At           time.Time `json:"time"`
	CallerKind   string    `json:"callerKind"`
	Organization string    `json:"organization,omitempty"`
	Service      string    `json:"service,omitempty"`
	Method       string    `json:"method"`
	Resource     string    `json:"resource"`
	Access       string    `json:"access"`
}

// accessPage is how many records of the audit log are read at once.
const accessPage = 1000

// AddAccess adds who has seen or changed the resources, oldest first.
func (w *Writer) AddAccess(ctx context.Context, db *pg.DB, resources []string) error {
	var after int64
	for {
		rows, err := db.Query(ctx, `SELECT id, at, caller_kind, organization, service, method, resource, access FROM audit_log
			WHERE resource = ANY(@resources) AND id > @after ORDER BY id LIMIT @n`,
			pgx.NamedArgs{"resources": resources, "after": after, "n": accessPage})
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByName[access])
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		for _, a := range found {
			if err := w.AddJSON("access", a.Resource, a); err != nil {
				return err
			}
			after = a.ID
		}
		if len(found) < accessPage {
			return nil
		}
	}
}

package pg

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// registerUUID has uuid.UUID travel as the sixteen bytes that it is. By itself pgx writes and
// reads it as text, by way of database/sql, at a multiple of the cost.
func registerUUID(m *pgtype.Map) {
	t := &pgtype.Type{Name: "uuid", OID: pgtype.UUIDOID, Codec: uuidCodec{}}
	m.RegisterType(t)
	m.RegisterType(&pgtype.Type{Name: "_uuid", OID: pgtype.UUIDArrayOID, Codec: &pgtype.ArrayCodec{ElementType: t}})
}

type uuidCodec struct{ pgtype.UUIDCodec }

// PlanEncode implements [pgtype.Codec].
func (c uuidCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode {
		switch value.(type) {
		case uuid.UUID, *uuid.UUID:
			return encodeUUID{}
		}
	}
	return c.UUIDCodec.PlanEncode(m, oid, format, value)
}

// PlanScan implements [pgtype.Codec].
func (c uuidCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	if _, ok := target.(*uuid.UUID); ok && format == pgtype.BinaryFormatCode {
		return scanUUID{}
	}
	return c.UUIDCodec.PlanScan(m, oid, format, target)
}

type encodeUUID struct{}

// Encode implements [pgtype.EncodePlan].
func (encodeUUID) Encode(value any, buf []byte) ([]byte, error) {
	switch u := value.(type) {
	case uuid.UUID:
		return append(buf, u[:]...), nil
	case *uuid.UUID: // nil is NULL before it comes here
		return append(buf, u[:]...), nil
	}
	return nil, fmt.Errorf("encode %T as uuid", value)
}

type scanUUID struct{}

// Scan implements [pgtype.ScanPlan].
func (scanUUID) Scan(src []byte, dst any) error {
	u, ok := dst.(*uuid.UUID)
	switch {
	case !ok:
		return fmt.Errorf("scan uuid into %T", dst)
	case src == nil: // NULL is uuid.Nil, as it is to database/sql
		*u = uuid.Nil
		return nil
	case len(src) != len(u):
		return fmt.Errorf("a uuid of %d bytes", len(src))
	}
	copy(u[:], src)
	return nil
}

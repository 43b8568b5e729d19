// Package idem answers a repeated mutation without doing it again: same caller, method and
// request_id (AIP-155), same answer for 24 hours, also when both copies arrive at once.
//
// What is seen of some resources may end or be taken away within those hours: by a consent, or
// because they become somebody else's. Of an answer that is one of those only the name is kept
// ([Reads]), and a copy is answered with the resource as it is then shown to its caller, or refused.
//
// A handler saves its answer in its own write ([Save], [SaveTx]), so that the answer is kept
// exactly if the write is. A copy that comes later is answered before its handler runs. Of
// two that run at once the slower fails on the primary key (or on what the faster has changed),
// writes nothing, and is given the faster one's answer. Errors are not kept: the same id may
// be tried again after one.
//
// Answers are kept encrypted; what is in them may be personal.
package idem

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"cairn.care/services/chassis/pg"
)

// Kept is how long an answer is kept.
const Kept = 24 * time.Hour

// call is the mutation that a context belongs to.
type call struct {
	method string
	aad    []byte // binds the stored answer to service, method and key
	aead   tink.AEAD
	reads  Reads
	id     string // the caller's request_id, or ""
	key    []byte // of the idempotency row; nil if id is ""
	hash   []byte // of the request

	mu    sync.Mutex
	saved int    // how often an answer was saved
	bytes []byte // the one saved last, if id is not ""
}

type callKey struct{}

// Save queues the answer in the batch of the write. Every mutation saves exactly the answer
// that it returns; nothing is stored if the caller sent no request_id, or if it is not an RPC.
func Save(ctx context.Context, b *pgx.Batch, response proto.Message) error {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return nil
	}
	args, err := c.save(response)
	if err == nil && args != nil {
		b.Queue(insertAnswer, args)
	}
	return err
}

// SaveTx is [Save] for an explicit transaction. Call it as the last of its writes.
func SaveTx(ctx context.Context, tx pg.Querier, response proto.Message) error {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return nil
	}
	args, err := c.save(response)
	if err != nil || args == nil {
		return err
	}
	if _, err := tx.Exec(ctx, insertAnswer, args); err != nil {
		return fmt.Errorf("save answer: %w", err)
	}
	return nil
}

const insertAnswer = `INSERT INTO idempotency (key, answer, names) VALUES (@key, @answer, @names)`

// save returns the row to insert, nil if the caller sent no request_id.
func (c *call) save(response proto.Message) (pgx.NamedArgs, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saved++
	if c.key == nil {
		return nil, nil
	}
	var err error
	if c.bytes, err = marshal(response); err != nil {
		return nil, err
	}
	plain, err := marshal(c.reads.kept(response))
	if err != nil {
		return nil, err
	}
	sealed, err := c.aead.Encrypt(append(bytes.Clone(c.hash), plain...), c.aad)
	if err != nil {
		return nil, fmt.Errorf("encrypt answer: %w", err)
	}
	return pgx.NamedArgs{"key": c.key, "answer": sealed, "names": names(response.ProtoReflect(), []string{}, 0)}, nil
}

// check tells whether the handler has saved the answer it returns.
func (c *call) check(resp any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.saved == 0 {
		return fmt.Errorf("%s saved no answer for its request_id", c.method)
	}
	if c.key == nil {
		return nil
	}
	m, ok := resp.(proto.Message)
	if !ok {
		return fmt.Errorf("%s answered with %T, which is no message", c.method, resp)
	}
	plain, err := marshal(m)
	if err != nil {
		return err
	}
	if !bytes.Equal(plain, c.bytes) {
		return fmt.Errorf("%s saved another answer for its request_id than it returned", c.method)
	}
	return nil
}

// stored returns what was kept of the answer that was saved for the call's key, nil if there is none.
func (c *call) stored(ctx context.Context, db *pg.DB) (proto.Message, error) {
	var sealed []byte
	err := db.QueryRow(ctx, `SELECT answer FROM idempotency WHERE key = $1`, c.key).Scan(&sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up answer: %w", err)
	}
	plain, err := c.aead.Decrypt(sealed, c.aad)
	if err != nil {
		return nil, fmt.Errorf("decrypt answer: %w", err)
	}
	if len(plain) < sha256.Size || !bytes.Equal(plain[:sha256.Size], c.hash) {
		return nil, errOtherRequest
	}
	var answer anypb.Any
	if err := proto.Unmarshal(plain[sha256.Size:], &answer); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	return answer.UnmarshalNew()
}

var errOtherRequest = errors.New("same request_id with another request")

// marshal encodes an answer with its type, the same way each time.
func marshal(m proto.Message) ([]byte, error) {
	det := proto.MarshalOptions{Deterministic: true}
	value, err := det.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return det.Marshal(&anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value})
}

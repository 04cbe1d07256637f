package srv

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/internal/wire"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/page"
	"github.com/micro/go-platform/internal/rpcerr"
)

// The bounds of requests.
const (
	defaultLimit = 20
	maxLimit     = 1000
	maxOffset    = 100_000
	maxRecords   = 1000 // of one Create
	maxStreams   = 2000 // of Stream and Consume together, of one account
)

// handler serves Event: it validates and translates.
type handler struct {
	log     *eventlog.Log
	done    <-chan struct{} // the service stops
	streams *daemon.Streams
}

func refuse(err error) error { return rpcerr.To(event.ServiceName, err) }

func invalid(format string, args ...any) error {
	return refuse(fmt.Errorf("%w: "+format, append([]any{rpcerr.ErrInvalid}, args...)...))
}

// Create appends records.
func (h *handler) Create(ctx context.Context, req *pb.CreateRequest, rsp *pb.CreateResponse) error {
	records := req.Records
	if req.Record != nil {
		records = append([]*pb.Record{req.Record}, records...)
	}
	return h.create(ctx, records, rsp)
}

func (h *handler) create(ctx context.Context, records []*pb.Record, rsp *pb.CreateResponse) error {
	switch {
	case len(records) == 0:
		return invalid("record: missing")
	case len(records) > maxRecords:
		return invalid("records: more than %d", maxRecords)
	}
	results, err := h.log.Create(ctx, records)
	if err != nil {
		return refuse(err)
	}
	if len(results) == 1 && results[0].Conflict {
		return refuse(fmt.Errorf("%w: %s", rpcerr.ErrConflict, results[0].Error))
	}
	if len(results) == 1 && results[0].Error != "" {
		return invalid("%s", results[0].Error)
	}
	rsp.Results = results
	return nil
}

func checkID(id string) error {
	if !clean.Name(id, 2*event.MaxID) { // those of dead letters are longer
		return invalid("id: want 1 to %d bytes of printable UTF-8", 2*event.MaxID)
	}
	return nil
}

// Read returns the newest record of an id, or 404.
func (h *handler) Read(ctx context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	if err := checkID(req.Id); err != nil {
		return err
	}
	var err error
	rsp.Record, err = h.find(ctx, req.Id)
	return refuse(err)
}

func (h *handler) find(ctx context.Context, id string) (*pb.Record, error) {
	r, err := h.log.Find(ctx, id)
	if err == nil && r == nil {
		err = fmt.Errorf("record %s: %w", id, rpcerr.ErrNotFound)
	}
	return r, err
}

// Update appends a new version of a record that is there.
func (h *handler) Update(ctx context.Context, req *pb.UpdateRequest, rsp *pb.UpdateResponse) error {
	e := eventlog.NewEntry(req.Record)
	if e.Err != nil {
		return refuse(e.Err)
	}
	if _, err := h.find(ctx, req.Record.Id); err != nil {
		return refuse(err)
	}
	e.Again = true
	if err := h.log.Append(ctx, []*eventlog.Entry{e}); err != nil {
		return refuse(err)
	}
	rsp.Sequence = e.Sequence
	return refuse(e.Err)
}

// Delete erases all versions of a record, or answers 404.
func (h *handler) Delete(ctx context.Context, req *pb.DeleteRequest, _ *pb.DeleteResponse) error {
	if err := checkID(req.Id); err != nil {
		return err
	}
	n, err := h.log.Erase(ctx, req.Id)
	if err == nil && n == 0 {
		err = fmt.Errorf("record %s: %w", req.Id, rpcerr.ErrNotFound)
	}
	return refuse(err)
}

// Search returns the records that match all conditions.
func (h *handler) Search(ctx context.Context, req *pb.SearchRequest, rsp *pb.SearchResponse) error {
	q, err := query(req)
	if err != nil {
		return err
	}
	found, cut, err := h.log.Search(ctx, q)
	if err != nil {
		return refuse(err)
	}
	n := fit(len(found), func(i int) int { return proto.Size(found[i]) })
	rsp.Records, rsp.Truncated = found[:n], cut || n < len(found)
	return nil
}

const maxSeconds = math.MaxInt64 / int64(time.Second)

func query(req *pb.SearchRequest) (eventlog.Query, error) {
	var none eventlog.Query
	switch {
	case req.Limit < 0 || req.Limit > maxLimit:
		return none, invalid("limit: %d is not within 0..%d", req.Limit, maxLimit)
	case req.Offset < 0 || req.Offset > maxOffset:
		return none, invalid("offset: %d is not within 0..%d", req.Offset, maxOffset)
	case req.From < 0 || req.To < 0 || req.From > maxSeconds || req.To > maxSeconds:
		return none, invalid("from, to: not within 0..%d", maxSeconds)
	case req.After > math.MaxInt64:
		return none, invalid("after: %d is no sequence", req.After)
	case req.Id != "" && checkID(req.Id) != nil:
		return none, checkID(req.Id)
	}
	q := eventlog.Query{
		ID: req.Id, From: req.From * int64(time.Second), To: req.To * int64(time.Second), After: req.After,
		Limit: req.Limit, Offset: req.Offset, Reverse: req.Reverse,
	}
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	types := []string{"*", event.ReservedPrefix + "*"} // dead letters, too
	if req.Type != "" {
		types = []string{req.Type}
	}
	var err error
	q.Filter, err = plugin.NewFilter(types...)
	return q, refuse(err)
}

// Subscriptions returns the status of durable subscriptions, as many as a message
// holds.
func (h *handler) Subscriptions(_ context.Context, req *pb.SubscriptionsRequest, rsp *pb.SubscriptionsResponse) error {
	all := h.log.Subscriptions(req.Name)
	if req.Name != "" && len(all) == 0 {
		return refuse(fmt.Errorf("subscription %.200q: %w", req.Name, rpcerr.ErrNotFound))
	}
	if req.After != "" {
		all = slices.DeleteFunc(all, func(s *pb.SubscriptionStatus) bool { return s.Subscription.Name <= req.After })
	}
	n := page.Fit(all, len(all))
	rsp.Subscriptions, rsp.Truncated = all[:n], n < len(all)
	return nil
}

// Unsubscribe forgets a durable subscription, or answers 404.
func (h *handler) Unsubscribe(ctx context.Context, req *pb.UnsubscribeRequest, _ *pb.UnsubscribeResponse) error {
	return refuse(h.log.Unsubscribe(ctx, req.Name))
}

// CloudEvents returns records as a batch of CloudEvents.
func (h *handler) CloudEvents(ctx context.Context, req *pb.CloudEventsRequest, rsp *pb.CloudEventsResponse) error {
	if req.Limit < 0 || req.Limit > maxLimit {
		return invalid("limit: %d is not within 0..%d", req.Limit, maxLimit)
	}
	filter, err := plugin.NewFilter(req.Types...)
	if err != nil {
		return refuse(err)
	}
	limit := int(req.Limit)
	if limit == 0 {
		limit = defaultLimit
	}
	page, err := h.log.Read(ctx, req.After, filter, limit)
	if err != nil {
		return refuse(err)
	}
	rsp.Events, rsp.Cursor, err = cloudEvents(page)
	return refuse(err)
}

// cloudEvents returns what of the page fits one message, as JSON takes more
// room than records, and the cursor after it.
func cloudEvents(page *plugin.Page) (text []byte, cursor uint64, err error) {
	records := make([]*event.Record, len(page.Records))
	for i, r := range page.Records {
		records[i] = (*event.Record)(wire.FromMessage(r))
	}
	cursor = page.Cursor
	for {
		text, err = event.MarshalCloudEvents(records)
		if err != nil || len(text) <= eventlog.MaxPage || len(records) <= 1 {
			return text, cursor, err
		}
		records = records[:len(records)/2]
		cursor = records[len(records)-1].Sequence
	}
}

// CreateCloudEvents appends a batch of CloudEvents.
func (h *handler) CreateCloudEvents(ctx context.Context, req *pb.CreateCloudEventsRequest, rsp *pb.CreateResponse) error {
	records, err := event.UnmarshalCloudEvents(req.Events)
	if err != nil {
		return refuse(err)
	}
	messages := make([]*pb.Record, len(records))
	for i, r := range records {
		messages[i] = wire.Message((*wire.Record)(r))
	}
	return h.create(ctx, messages, rsp)
}

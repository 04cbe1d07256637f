package srv_test

import (
	"context"
	"testing"
	"time"

	"go-micro.dev/v6/broker"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/monitor"
	pb "github.com/micro/go-platform/monitor/proto"
)

// message builds a message by the numbers of its fields, as the clients of the
// original go-platform wrote them.
type message []byte

func (m message) text(n protowire.Number, s string) message {
	return protowire.AppendString(protowire.AppendTag(m, n, protowire.BytesType), s)
}

func (m message) number(n protowire.Number, v int64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, n, protowire.VarintType), uint64(v))
}

func (m message) with(n protowire.Number, inner message) message {
	return protowire.AppendBytes(protowire.AppendTag(m, n, protowire.BytesType), inner)
}

func TestTopicsTakeWhatTheOriginalsClientsSent(t *testing.T) {
	net, api, _ := boot(t)
	node := message{}.text(1, "shop-1")
	service := message{}.text(1, "shop").text(2, "1.0").with(3, node)
	now := time.Now().Unix()
	status := message{}.with(1, service).number(2, 2).text(3, "all is well").number(4, now).number(5, 60).number(6, 180)
	check := message{}.text(1, "db").text(2, "the database").number(3, now).number(4, 60).number(5, 180).
		with(6, service).number(7, 2).with(8, message{}.text(1, "rows").text(2, "none")).text(9, "away")
	endpoint := message{}.text(1, "stock").text(2, "Stock.Get").with(4, message{}.number(1, 7))
	stats := message{}.with(1, service).number(2, now).number(3, 60).number(4, 180).with(5, message{}.number(1, 99)).
		with(6, message{}.number(1, 1<<20)).with(8, message{}.number(1, 4)).with(9, endpoint)
	for topic, m := range map[string]message{monitor.StatusTopic: status, monitor.HealthCheckTopic: check, monitor.StatsTopic: stats} {
		for _, content := range []string{"application/octet-stream", "application/protobuf"} {
			if err := net.Broker.Publish(topic, &broker.Message{Header: map[string]string{"Content-Type": content}, Body: m}); err != nil {
				t.Errorf("%s: %v", content, err)
			}
		}
	}
	ctx := context.Background()
	rpctest.Eventually(t, "the status is known", func() bool {
		rsp, err := api.Status(ctx, &pb.StatusRequest{Node: "shop-1"})
		return err == nil && len(rsp.Statuses) == 1 && rsp.Statuses[0].Status == pb.Status_RUNNING &&
			rsp.Statuses[0].Info == "all is well" && rsp.Statuses[0].Service.Version == "1.0"
	})
	rpctest.Eventually(t, "the check is known", func() bool {
		rsp, err := api.HealthChecks(ctx, &pb.HealthChecksRequest{Node: "shop-1"})
		return err == nil && len(rsp.Healthchecks) == 1 && rsp.Healthchecks[0].Status == pb.HealthCheck_ERROR &&
			rsp.Healthchecks[0].Error == "away" && rsp.Healthchecks[0].Results["rows"] == "none"
	})
	rpctest.Eventually(t, "the stats are known", func() bool {
		rsp, err := api.Stats(ctx, &pb.StatsRequest{Node: "shop-1"})
		return err == nil && len(rsp.Stats) == 1 && rsp.Stats[0].Cpu.UserTime == 99 && rsp.Stats[0].Endpoints[0].Success.Count == 7
	})
}

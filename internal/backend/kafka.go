package backend

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"
)

// Kafka returns a Kafka broker that is its own controller and creates topics at first use. What it has
// acknowledged outlives Kill and Restart.
func Kafka(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return serve(tb, kind{
		name:     "kafka",
		ports:    usual(2),
		patience: 3 * time.Minute,
		find:     jars("kafka"),
		prepare:  formatKafka,
		command: func(p *place) []string {
			return jvmKafka(p, "kafka.Kafka", p.dir+"/server.properties")
		},
		ready: kafkaReady,
	}, opts)
}

func jvmKafka(p *place, args ...string) []string {
	return jvm(p, "kafka", append([]string{"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}, args...)...)
}

func formatKafka(ctx context.Context, p *place) error {
	if err := writeConfig(p, "server.properties",
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@"+p.addr(1),
		"listeners=PLAINTEXT://"+p.addr(0)+",CONTROLLER://"+p.addr(1),
		"advertised.listeners=PLAINTEXT://"+p.addr(0),
		"controller.listener.names=CONTROLLER",
		"log.dirs="+p.dir+"/data",
		// Alone, and for one test: no replicas, few files, no wait for others to join.
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"transaction.state.log.num.partitions=1",
		"group.initial.rebalance.delay.ms=0",
		// A broker that was killed may not come back before its session has ended.
		"broker.session.timeout.ms=3000",
		"broker.heartbeat.interval.ms=500",
	); err != nil {
		return err
	}
	const clusterID = "Z28tcGxhdGZvcm0tdGVzdA" // 16 bytes in base64; any will do
	argv := jvmKafka(p, "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", p.dir+"/server.properties")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("format the storage: %w: %s", err, out)
	}
	return nil
}

// kafkaReady asks for the metadata of the cluster. A broker answers before it may serve, but names itself
// among the brokers only from then on.
func kafkaReady(ctx context.Context, p *place) error {
	const (
		metadataV1 = "\x00\x03\x00\x01"
		request    = metadataV1 + "\x00\x00\x00\x01" + "\xff\xff" + "\x00\x00\x00\x00" // id 1, no client, no topics
		length     = "\x00\x00\x00\x0e"
		brokersAt  = 8 // after the length and the id
	)
	answer, err := ask(ctx, p.addr(0), length+request, brokersAt+4)
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint32(answer[brokersAt:]) == 0 {
		return errors.New("the broker is not in the cluster yet")
	}
	return nil
}

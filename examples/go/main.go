// An internal service's first steps: watch a learner, record an interaction, see the update
// arrive, read its trace id. See README.md for how to run it.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	brainv1 "aivo.internal/gen/aivo/brain/v1"
)

const deadline = 5 * time.Second

func main() {
	address := flag.String("brain", "127.0.0.1:8001", "where the brain is, `HOST:PORT`")
	file := flag.String("credential-file", ".aivo/service-credential", "the service credential")
	learner := flag.String("learner", "demo-example", "whom to act for")
	flag.Parse()
	credential, err := os.ReadFile(*file)
	if err != nil {
		fail("cannot read the service credential (`make run` makes one): %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(
		context.Background(), "authorization", "Bearer "+strings.TrimSpace(string(credential)))
	if err := recordAndWatch(ctx, *address, *learner); err != nil {
		if answer, ok := status.FromError(err); ok {
			fail("the brain answered %s: %s", answer.Code(), answer.Message())
		}
		fail("%v", err)
	}
}

// recordAndWatch does the three things and prints what came of them.
func recordAndWatch(ctx context.Context, address, learner string) error {
	// The brain is inside: no proxy that the environment names stands between.
	connection, err := grpc.NewClient(
		address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return err
	}
	defer connection.Close()
	brain := brainv1.NewBrainServiceClient(connection)

	// 1. Watch: one stream serves any number of learners; ModifyWatch adds and removes some while
	// it is open. It would stay open for ever; this program gives it a deadline instead.
	watching, stop := context.WithTimeout(ctx, 2*deadline)
	defer stop()
	watch, err := brain.WatchState(watching, &brainv1.WatchStateRequest{
		WatchId: random(16),
		Cursors: []*brainv1.Cursor{
			{LearnerId: learner, Mode: brainv1.DeliveryMode_DELIVERY_MODE_EVERY},
		},
	})
	if err != nil {
		return err
	}
	first, err := watch.Recv()
	if err != nil {
		return err
	}
	fmt.Printf("watching %s from revision %d\n", learner, first.Snapshots[0].Revision)

	// 2. Record. The id makes a retry harmless: sent again, it returns the first outcome and moves
	// nothing. A traceparent continues the caller's trace; here a new one is started.
	calling, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	recorded, err := brain.RecordInteraction(calling, &brainv1.RecordInteractionRequest{
		Interaction: &brainv1.Interaction{
			InteractionId: fmt.Sprintf("example-%d", time.Now().UnixNano()),
			LearnerId:     learner,
			Kind:          brainv1.InteractionKind_INTERACTION_KIND_QUESTION_RESPONSE,
			Content:       "What is 3/4 of 24?",
			Response:      proto.String("18"),
			Context: &brainv1.Context{
				Correct:    proto.Bool(true),
				Difficulty: proto.Float64(3),
				Subject:    "math",
				Skills:     []string{"fractions"},
				TimeTakenS: proto.Float64(14.5),
				Attempts:   proto.Int32(1),
			},
			Traceparent: fmt.Sprintf("00-%s-%s-01", random(16), random(8)),
		},
	})
	if err != nil {
		return err
	}
	revision := recorded.Applied.Revision
	fmt.Printf("recorded as revision %d\n", revision)

	// 3. The watcher hears of it, with the trace that caused it.
	for {
		response, err := watch.Recv()
		if err != nil {
			return errors.Join(errors.New("the stream ended; open it again with the cursor reached"), err)
		}
		for _, update := range response.Updates {
			if update.LearnerId == learner && update.Revision >= revision {
				fmt.Printf("the watcher saw revision %d\n", update.Revision)
				fmt.Printf("trace id %s\n", recorded.TraceId)
				return nil
			}
		}
	}
}

// random returns so many random bytes in hexadecimal digits.
func random(bytes int) string {
	id := make([]byte, bytes)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}

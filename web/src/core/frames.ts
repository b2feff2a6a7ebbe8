/** Every frame of the protocol as a type. Field meanings, units and ranges; no behaviour. */

/** RFC 3339 UTC with milliseconds and `Z`. */
export type Timestamp = string;

/** The six levels of a learner's state, each in [0, 1]. */
export interface CognitiveState {
  /** Mental effort the work demands. */
  cognitive_load: number;
  /** Involvement in the work. */
  engagement_level: number;
  /** Frustration. */
  frustration_level: number;
  /** Tiredness. */
  fatigue_level: number;
  /** Trust in the own ability. */
  confidence_level: number;
  /** Drive to go on. */
  motivation_level: number;
}

/** How the learner does. */
export interface PerformanceMetrics {
  /** Share of right answers, recent ones weigh more; [0, 1]. */
  accuracy: number;
  /** Typical time per answer in seconds. */
  response_time: number;
  /** Evenness of pace and results; [0, 1]. */
  consistency: number;
  /** Trend; [-1, 1]. */
  improvement_rate: number;
}

/** A recommendation for machines; `recommendations` says the same in sentences. */
export interface RecommendedAction {
  /** Stable code, such as `take_break`. */
  code: string;
  /** The levels and drivers behind it, as the model names them. */
  reason?: readonly string[];
  /** `high`, `medium` or `low`. */
  urgency?: string;
  /** The same reasons in a teacher's words. */
  because?: readonly Because[];
}

/** One thing that speaks for a statement. */
export interface Because {
  /** Stable code, such as `err`. */
  code: string;
  /** Which way it pulls the number it explains. */
  direction: "up" | "down";
  /** For a teacher, such as "more mistakes than usual". */
  words: string;
}

/** How a level stands to what is usual for this learner. */
export type Band = "much_lower" | "lower" | "as_usual" | "higher" | "much_higher" | "too_early";

/** Whether a person should look after the learner. */
export interface Attention {
  /** `now` needs help, `look` is worth a look in this lesson. */
  level: "now" | "look" | "none";
  /** Stable code, such as `stuck`; empty at `none`. */
  code: string;
  /** One sentence; empty at `none`. */
  reason: string;
  /** When this level began; empty at `none`. */
  since: Timestamp | "";
}

/** A forecast that anybody can check three answers later. */
export interface Struggle {
  /** That at least two of the next three answers are wrong; [0, 1]. */
  probability: number;
  /** The same among all learners of the subject; [0, 1]. */
  usual: number;
  /** Strongest first, at most three. */
  because: readonly Because[];
}

/** Why bands cannot be told yet. */
export interface TooEarly {
  /** `new_learner`: what is usual is not known yet; `after_break`: too little was done since. */
  code: string;
  /** So many more answers. */
  needs: number;
  sentence: string;
}

/** What the levels mean for this learner. */
export interface Meaning {
  bands: Readonly<Record<keyof CognitiveState, Band>>;
  /** The learner's usual levels, and one standard deviation around them. */
  usual: CognitiveState;
  spread: CognitiveState;
  /** Of each level from its usual value, in spreads, signed. */
  deviation: CognitiveState;
  attention: Attention;
  /** Absent before the first answer. */
  struggle?: Struggle;
  /** There while bands are `too_early`. */
  too_early?: TooEarly;
}

/** One skill's mastery with the evidence behind it. */
export interface SkillMastery {
  /** [0, 1]. */
  probability: number;
  /** How many answers it rests on. */
  answers: number;
  /** In units of the probability. */
  standard_error: number;
}

/** Per level, what moved it and by how much, in units of the level; the names are the model's. */
export type Drivers = {
  readonly [level in keyof CognitiveState]?: Readonly<Record<string, number>>;
};

/**
 * A change that a watcher must not miss: a level that crossed its alert threshold, or another
 * urgency.
 */
export interface Crossing {
  /** The level, or `recommendation`. */
  name: string;
  rising: boolean;
  value: number;
  /** The revision that brought it. */
  revision: number;
}

/** One thing that was done to content, and how it is undone. */
export interface ContentChange {
  code?: string;
  description?: string;
  reason?: string;
  undo?: string;
  [more: string]: string | undefined;
}

/** What comes with every newer state. */
export interface LiveAssessment {
  performance?: PerformanceMetrics | null;
  /** Sentences for people. */
  recommendations?: readonly string[];
  /** The same for machines, in the same order. */
  actions?: readonly RecommendedAction[];
  /** Absent where the model is older than vb-ssm/0.2. */
  meaning?: Meaning;
}

/**
 * What a learner's model says beside the six levels, when it is asked or answers an interaction.
 */
export interface Assessment extends LiveAssessment {
  /**
   * Per skill: after an answer the probability of mastery in [0, 1], when asked for the state the
   * evidence as well.
   */
  mastery?: Readonly<Record<string, number | SkillMastery>>;
  /** Explains the state's own revision. */
  drivers?: Drivers;
  /**
   * Per level whose band is not `as_usual`: what pulls it there, compared with what is usual. Only
   * when the state was asked for.
   */
  explanations?: { readonly [level in keyof CognitiveState]?: readonly Because[] };
  /** How much evidence stands behind the state; [0, 1]. */
  confidence?: number;
  /** Per level, the standard uncertainty; same unit as the level. */
  uncertainty?: CognitiveState;
  /** Per level, what the claim rests on: `human`, `convergent` or `theory`. */
  grades?: Readonly<Record<keyof CognitiveState, string>>;
  model_version?: string;
}

/** What happened, in the guide's words. */
export type InteractionType =
  "question_response" | "content_view" | "hint_request" | "assessment" | "practice";

/** What is known about the interaction. Fields the model does not read are stored. */
export interface InteractionContext {
  correct?: boolean;
  /** 1 (easy) to 5 (hard). */
  difficulty?: number;
  subject?: string;
  /** One skill, or up to 8. */
  skill?: string | readonly string[];
  /** Seconds, ≥ 0. */
  time_taken?: number;
  hints?: number;
  attempts?: number;
  item_id?: string;
  [more: string]: unknown;
}

/** An interaction as the application gives it. */
export interface VirtualBrainInteraction {
  learner_id: string;
  type: InteractionType;
  content: string;
  response?: string;
  context?: InteractionContext;
  /** UUIDv7 recommended; the client makes one when absent. */
  interaction_id?: string;
  /** When it happened, if not now; at most 7 days back. */
  occurred_at?: Timestamp | undefined;
  /** W3C trace context of the application's own trace, which then goes on through the server. */
  traceparent?: string;
}

/** A request to fit content to the learner's state. */
export interface AdaptationRequest {
  learner_id: string;
  content: string;
  content_type: string;
  /** 1 (easy) to 5 (hard). */
  target_difficulty?: number;
  focus_areas?: readonly string[];
}

/** Where a subscription stands: the store's history (`epoch`) and the last revision seen in it. */
export interface Position {
  epoch: string;
  revision: number;
}

/** `latest` may skip revisions and says so; `every` delivers each one. */
export type SubscriptionMode = "latest" | "every";

interface Request {
  /** Echoed in the answer. */
  id?: string;
}
interface Answer {
  timestamp: Timestamp;
  id?: string;
}

export interface AuthenticateFrame extends Request {
  type: "authenticate";
  token: string;
}
export interface SubscribeLearnerFrame extends Request {
  type: "subscribe_learner";
  learner_id: string;
  resume?: Position | undefined;
  mode?: SubscriptionMode | undefined;
  /** Least time between two updates in milliseconds. */
  min_interval_ms?: number | undefined;
}
export interface UnsubscribeLearnerFrame extends Request {
  type: "unsubscribe_learner";
  learner_id: string;
}
export interface InteractFrame extends Request {
  type: "virtual_brain_interact";
  data: VirtualBrainInteraction;
}
export interface GetStateFrame extends Request {
  type: "get_state";
  learner_id: string;
}
export interface AdaptContentFrame extends Request {
  type: "adapt_content";
  data: AdaptationRequest;
}
export interface JoinRoomFrame extends Request {
  type: "join_room";
  room_id: string;
}
export interface LeaveRoomFrame extends Request {
  type: "leave_room";
  room_id: string;
}
export interface SendRoomMessageFrame extends Request {
  type: "room_message";
  room_id: string;
  data: Record<string, unknown>;
}
export interface PingFrame extends Request {
  type: "ping";
  sent_at?: unknown;
}

/** Any frame a client may send. */
export type ClientFrame =
  | AuthenticateFrame
  | SubscribeLearnerFrame
  | UnsubscribeLearnerFrame
  | InteractFrame
  | GetStateFrame
  | AdaptContentFrame
  | JoinRoomFrame
  | LeaveRoomFrame
  | SendRoomMessageFrame
  | PingFrame;

/** Who a connection belongs to. */
export interface UserInfo {
  id: string;
  role?: string;
}

export interface ConnectionEstablishedFrame extends Answer {
  type: "connection_established";
  connection_id: string;
  user?: UserInfo;
  /** When the token runs out. */
  expires_at?: Timestamp | null;
  /** Silence after which the edge pings, in milliseconds. */
  heartbeat_ms?: number;
  limits?: Record<string, unknown>;
}
export interface AuthenticatedFrame extends Answer {
  type: "authenticated";
  expires_at?: Timestamp | null;
}
export interface StateUpdateFrame extends Answer, LiveAssessment {
  type: "state_update";
  learner_id: string;
  state: CognitiveState;
  epoch?: string;
  /** Grows by one per applied interaction. */
  revision?: number;
  /** Updates skipped since the last one this socket got. */
  coalesced?: number;
  /** Alert thresholds and urgencies that changed in the skipped updates or this one. */
  crossings?: readonly Crossing[];
  /** When the interaction behind it happened. */
  occurred_at?: Timestamp;
  trace_id?: string;
}
export interface SubscribedFrame extends Answer, LiveAssessment {
  type: "subscribed";
  learner_id: string;
  success?: boolean;
  epoch?: string;
  revision?: number;
  /** Whether nothing was missed since the resume point. */
  recovered?: boolean;
  /** The current state; null when the learner has none yet. */
  state?: CognitiveState | null;
  /** When the last interaction happened. */
  occurred_at?: Timestamp;
  /** Updates replayed in `every` mode: how many follow, or the updates themselves. */
  missed?: number | readonly StateUpdateFrame[];
}
export interface UnsubscribedFrame extends Answer {
  type: "unsubscribed";
  learner_id: string;
  /** Present when the server did it: `revoked` or `gone`. */
  code?: string;
  retryable?: boolean;
}
/** The outcome of one interaction. */
export interface InteractionResult extends Omit<Assessment, "explanations"> {
  success?: boolean;
  state?: CognitiveState;
  /** What the model expected before it saw the answer; [0, 1]. */
  predicted_correct?: number | null;
  /** How sure the learner was of this one answer, as the model estimates it; [0, 1]. */
  item_confidence?: number;
  /** Seconds. */
  processing_time?: number;
}
export interface VirtualBrainResponseFrame extends Answer {
  type: "virtual_brain_response";
  learner_id: string;
  result: InteractionResult;
  interaction_id?: string;
  revision?: number;
  /** Whether this interaction had been applied before. */
  duplicate?: boolean;
  trace_id?: string;
}
export interface StateResponseFrame extends Answer, Assessment {
  type: "state_response";
  learner_id: string;
  state: CognitiveState | null;
  epoch?: string;
  revision?: number;
  /** When the last interaction happened. */
  occurred_at?: Timestamp;
}
export interface ContentAdaptedFrame extends Answer {
  type: "content_adapted";
  learner_id: string;
  original_content: string;
  adapted_content: string;
  /** What was done and why. */
  changes?: readonly ContentChange[];
}
/** Somebody in a room. */
export interface RoomMember {
  connection_id: string;
  user?: UserInfo | undefined;
}

interface RoomFrame extends Answer {
  room_id: string;
  connection_id?: string;
  user?: UserInfo;
}
export interface RoomJoinedFrame extends RoomFrame {
  type: "room_joined";
  /** Who is there, at most 100. */
  members?: readonly RoomMember[];
  /** How many are there. Above 100 nobody is told who comes and goes. */
  member_count?: number;
}
export interface RoomLeftFrame extends RoomFrame {
  type: "room_left";
}
export interface UserJoinedFrame extends RoomFrame {
  type: "user_joined";
}
export interface UserLeftFrame extends RoomFrame {
  type: "user_left";
}
export interface RoomMessageFrame extends RoomFrame {
  type: "room_message";
  data: Record<string, unknown>;
}
export interface PongFrame extends Answer {
  type: "pong";
  sent_at?: unknown;
}
export interface ServerDrainingFrame extends Answer {
  type: "server_draining";
  reconnect_after_ms: number;
}
export interface ErrorFrame extends Answer {
  type: "error";
  /** One sentence for people. */
  error: string;
  code?: string;
  retryable?: boolean;
  retry_after_ms?: number | null;
  message_type?: string | null;
  trace_id?: string;
}

/** Any frame a server may send. */
export type ServerFrame =
  | ConnectionEstablishedFrame
  | AuthenticatedFrame
  | SubscribedFrame
  | UnsubscribedFrame
  | StateUpdateFrame
  | VirtualBrainResponseFrame
  | StateResponseFrame
  | ContentAdaptedFrame
  | RoomJoinedFrame
  | RoomLeftFrame
  | UserJoinedFrame
  | UserLeftFrame
  | RoomMessageFrame
  | PongFrame
  | ServerDrainingFrame
  | ErrorFrame;

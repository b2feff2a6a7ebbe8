/** Name and sign. */

/** The name and sign of the product. */
export function Brand() {
  return (
    <span className="brand">
      <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false">
        <rect width="32" height="32" rx="9" className="brand__ground" />
        <path d="M6 19c4 0 4-8 8-8s4 11 8 11 3-6 4-6" className="brand__line" />
      </svg>
      AIVO
    </span>
  );
}
